#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# make report-check: see check.py. Pages and pictures of them stay in $B/report.
#
#   REPORT_VENV=DIR    use this virtual environment as it is, instead of making $B/report/venv from PyPI
#   PAGES="small moe"  only these; check.py has them all
#   CHROMEDRIVER=FILE  /usr/bin/chromedriver
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/report
B=${B:-build}
venv=${REPORT_VENV:-$B/report/venv}

command -v "${CHROMEDRIVER:-chromedriver}" >/dev/null || {
	echo "report-check: no chromedriver; install it with: sudo apt-get install chromium chromium-driver" >&2
	exit 1
}
mkdir -p "$B/report"
# The copy of the requirements is written last, so that an interrupted installation is resumed.
if [ -z "${REPORT_VENV:-}" ] && ! cmp -s $here/requirements.txt "$venv/requirements.txt"; then
	python3 -m venv "$venv"
	"$venv/bin/python" -m pip install -q --disable-pip-version-check -r $here/requirements.txt
	# Of this only axe-core is wanted, not the browsers that it depends on.
	"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps axe-playwright-python==0.1.8
	cp $here/requirements.txt "$venv/requirements.txt"
fi
GPTQFS=$B/gptqfs "$venv/bin/python" tests/packages/test_report.py
GPTQFS=$B/gptqfs "$venv/bin/python" $here/check.py "$B/report" small=tests/data/models/tiny-llama-4b-g32-shard \
	experts=tests/data/int/models/mlx-moe-qwen3 fp8=tests/data/float/models/f-fp8-dsv3-shards
