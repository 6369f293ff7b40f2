#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The Python module and the wheel. Packages are too slow for make check: make check-packages.
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

step "packages python" python3 -S tests/packages/test_python.py
step "packages report" python3 tests/packages/test_report.py
