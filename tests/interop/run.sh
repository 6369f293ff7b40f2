#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# make interop: real programs read a mount, and the recipes of contrib/recipes are run.
#
#   MODEL=DIR         the real model (SmolLM2-135M, quantized); beside it, and in tests/data/models, the tiny ones
#   INTEROP_VENV=DIR  use this virtual environment as it is, instead of making $B/interop/venv from PyPI
#   LLAMA_CPP=DIR     a checkout of llama.cpp, for its converter, instead of what PyPI has of it
#   B=DIR             build directory;  INTEROP_THREADS=N threads of torch (1)
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/interop
B=${B:-build}
MODEL=${MODEL:-../shared/models/smollm2-135m-gptq-4bit-g64}
gptqfs=$B/gptqfs
mkdir -p "$B/interop"

# The copy of the requirements is written last, so that an interrupted installation is resumed.
install_into() {
	cmp -s "$2" "$1/requirements.txt" && return
	echo "installing $2 into $1"
	python3 -m venv "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check -r "$2" && cp "$2" "$1/requirements.txt"
}
venv=${INTEROP_VENV:-}
if [ -z "$venv" ]; then
	venv=$B/interop/venv
	install_into "$venv" $here/requirements.txt
fi

# The only package with llama.cpp's converter is the source of llama-cpp-python.
llama_cpp_python='llama_cpp_python-0.3.36'
get_llama_cpp() {
	local to=$B/interop/$llama_cpp_python
	if [ ! -d "$to" ]; then
		echo "getting llama.cpp's converter from $llama_cpp_python"
		rm -rf "$to.part" && mkdir "$to.part"
		"$venv/bin/python" -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: -d "$to.part" \
			"${llama_cpp_python/-/==}" || return
		tar -xzf "$to.part/$llama_cpp_python.tar.gz" -C "$to.part" --strip-components=3 --wildcards \
			'*/vendor/llama.cpp/convert_hf_to_gguf.py' '*/vendor/llama.cpp/conversion/*' '*/vendor/llama.cpp/gguf-py/*' || return
		rm "$to.part/$llama_cpp_python.tar.gz" && mv "$to.part" "$to"
	fi
	LLAMA_CPP=$(cd "$to" && pwd)
}
[ -n "${LLAMA_CPP:-}" ] || get_llama_cpp || echo "there is none: $llama_cpp_python was not to be had"
export LLAMA_CPP=${LLAMA_CPP:-}

work=$(mktemp -d "$B/interop/work.XXXXXX")
work=$(cd "$work" && pwd)
mounts=()
child=

unmount_all() {
	local left=0 mnt
	for mnt in "${mounts[@]}"; do
		# A reader that was just killed may keep the mount busy for a moment.
		for _ in 1 2 3 4 5; do
			fusermount3 -u "$mnt" 2>/dev/null && continue 2
			sleep 1
		done
		fusermount3 -uz "$mnt" || true
		left=1
	done
	mounts=()
	return $left
}

cleanup() {
	trap - EXIT INT TERM HUP
	[ -z "$child" ] || { kill "$child" && wait "$child"; } 2>/dev/null || true
	unmount_all || true
	# Mounts left by a recipe that was killed or failed to unmount.
	awk -v work="$work/" 'index($2, work) == 1 { print $2 }' /proc/mounts | xargs -r -n 1 fusermount3 -uz || true
	# Never delete through a mount that could not be removed.
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

export RESULTS=$work/results
: >"$RESULTS"
report() {
	printf '%-5s %s\n' "$1" "$2"
	echo "$1" >>"$RESULTS"
}

# mount_model NAME MODEL_DIR [OPTION]...: leaves the mountpoint in $mnt
mount_model() {
	local name=$1 model=$2
	shift 2
	mnt=$work/mnt/$name
	mkdir -p "$mnt"
	if ! "$gptqfs" "$@" "$model" "$mnt"; then
		report FAIL "$name: gptqfs $* does not mount $model"
		return 1
	fi
	mounts+=("$mnt")
}

# Run in the background and waited for, so that signals reach the trap at once.
run_python() {
	local status=0
	timeout -k 10 "${INTEROP_TIMEOUT:-1800}" "$venv/bin/python" "$here/$1" "${@:2}" &
	child=$!
	wait "$child" || status=$?
	child=
	[ "$status" = 0 ] || report FAIL "$1 ended with status $status"
}

# No network access, and no files left in the home directory.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 HF_HOME=$work/hf
export XDG_CACHE_HOME=$work/cache TOKENIZERS_PARALLELISM=false TQDM_DISABLE=1 CUDA_VISIBLE_DEVICES='' USE_HUB_KERNELS=0
export PYTHONDONTWRITEBYTECODE=1 PYTHONFAULTHANDLER=1 OMP_NUM_THREADS=${INTEROP_THREADS:-1}

"$venv/bin/python" - <<-'EOF'
	import importlib.metadata as m, sys
	names = "transformers", "torch", "safetensors", "numpy", "accelerate", "ml_dtypes", "peft", "mergekit", "gguf", \
		"bitsandbytes", "compressed_tensors"
	have = {d.metadata["Name"].lower().replace("-", "_"): d.version for d in m.distributions()}
	print("python", sys.version.split()[0], *(f"{n} {have.get(n, '(absent)')}" for n in names))
EOF

tiny=()
declare -A seen=()
for model in "$(dirname "$MODEL")"/tiny-* tests/data/models/tiny-*; do
	name=$(basename "$model")
	if [ ! -f "$model/config.json" ] || [ -n "${seen[$name]:-}" ]; then
		continue
	fi
	seen[$name]=1
	! mount_model "$name" "$model" || tiny+=("$model" "$mnt")
done
for name in tiny-llama tiny-phi3 tiny-qwen2 tiny-qwen3moe; do
	[[ " ${!seen[*]}" == *" $name-"* ]] || report skip "no $name beside $MODEL or in tests/data/models"
done

if [ -f "$MODEL/config.json" ]; then
	mount_model model "$MODEL" && all=$mnt
	mount_model view-fp16 "$MODEL" -o view=fp16 && view=$mnt
	mount_model cold "$MODEL" && cold=$mnt
	if [ -n "${all:-}" ] && [ -n "${view:-}" ] && [ -n "${cold:-}" ]; then
		run_python load_models.py real "$work" "$MODEL" "$all" "$view" "$cold"
		run_python read_tensors.py "$MODEL" "$all"
	fi
else
	report skip "no model in $MODEL: set MODEL="
fi
if [ ${#tiny[@]} -gt 0 ]; then
	run_python load_models.py tiny "$work" "${tiny[@]}"
	run_python read_tensors.py "${tiny[@]}"
fi
if [ -f "$MODEL/config.json" ]; then
	ggufs=("$(dirname "$MODEL")"/../gguf/models/*)
	[ -d "${ggufs[0]}" ] || ggufs=(tests/data/gguf/models/*)
	run_python gguf_file.py "$gptqfs" "$work" "$MODEL" "${ggufs[@]}"
fi
run_python lora.py "$gptqfs" "$work" tests/data/models/tiny-llama-4b-g32-asym-act "$(dirname "$MODEL")"/tiny-qwen3moe-*
run_python experts.py "$gptqfs" "$work"
families=()
for model in "$(dirname "$MODEL")"/../{int,float}/models/* tests/data/{int,float}/models/*; do
	name=$(basename "$model")
	[ ! -f "$model/config.json" ] || [ -n "${seen[$name]:-}" ] || families+=("$model")
	seen[$name]=1
done
[ ${#families[@]} = 0 ] || run_python families.py "$gptqfs" "$work" "${families[@]}"
# Readers that need another transformers have their own virtual environment.
if [ -f "$MODEL/config.json" ]; then
	own=$venv
	[ -n "${INTEROP_VENV:-}" ] || venv=$B/interop/venv-others
	if [ "$venv" = "$own" ] || install_into "$venv" $here/requirements-others.txt; then
		run_python others.py "$gptqfs" "$work" "$MODEL"
		run_python mlx_view.py "$gptqfs" "$work" "$MODEL" "$(dirname "$MODEL")"/tiny-* \
			"$(dirname "$MODEL")"/../{int,gguf}/models/{awq,ct,hqq,mlx,mixtral,qwen2moe,gemma}*
	else
		report skip "mlx-lm and mistral.rs are not to be had"
	fi
	venv=$own
fi
# The wheel, in a virtual environment of its own that also finds what the first one has.
wheel=$(ls "$B"/release/gptqfs-*"$(uname -m).whl" 2>/dev/null | tail -1)
if [ -n "$wheel" ]; then
	own=$venv
	venv=$work/wheel
	"$own/bin/python" -m venv "$venv"
	"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-index "$wheel"
	"$own/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$(echo "$venv"/lib/python*/site-packages)/own.pth"
	run_python wheel.py tests/data/models/tiny-llama-4b-g32-shard tests/data/expected/tiny-llama-4b-g32-shard.BF16.json \
		tests/data/models/tiny-qwen2-4b-g64-asym tests/data/expected/tiny-qwen2-4b-g64-asym.BF16.json
	venv=$own
else
	report skip "no wheel in $B/release; make wheel"
fi
run_python recipes.py "$gptqfs" "$work" "$MODEL" tests/data/models/tiny-llama-{3b-g32-asym,4b-g32-asym-act}

if unmount_all; then
	report pass "every mount unmounts"
else
	report FAIL "a mount was still busy"
fi

count() {
	grep -c "^$1$" "$RESULTS" || true
}
failed=$(count FAIL)
echo "$(count pass) passed, $failed failed, $(count skip) skipped"
[ "$failed" = 0 ]
