#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# --stats: figures about modules, compared with sums of tools/stats.py.

load lib

# export_view NAME: that view of $source, in a directory whose name is printed.
export_view() {
	local out=$BATS_TEST_TMPDIR/${1//\//-}

	rm -rf "$out"
	"$GPTQFS" -q --export="$out" -o "view=$1" "$source"
	printf '%s' "$out"
}

# stats_json ARGUMENT...: of $source, in $json.
stats_json() {
	json=$BATS_TEST_TMPDIR/stats.json
	"$GPTQFS" --stats --json "$@" "$source" >"$json" 2>"$BATS_TEST_TMPDIR/progress" || fail "$(<"$BATS_TEST_TMPDIR/progress")"
}

# check_figures NAME EXPECTED: figures of a model against its bf16 view, and how many of each were checked.
check_figures() {
	find_model "$1"
	check_source "$@"
}

# check_synthetic KIND EXPECTED: likewise, of one that make_checkpoint.py writes.
check_synthetic() {
	source=$BATS_TEST_TMPDIR/$1
	python3 -S "$TESTS/tools/make_checkpoint.py" "$1" "$source"
	check_source "$@"
}

check_source() {
	local dense other

	dense=$(export_view fp32)
	other=$(export_view bf16)
	stats_json --against="$other"
	run -0 python3 -S "$TESTS/tools/stats.py" "$json" "$source" "$dense" "$other"
	[[ $output = "$2" ]] || fail "$1: $output, expected $2"
}

@test "figures of integer formats" {
	check_figures tiny-llama-4b-g32-shard "14 weights=14 codes=14 scales=14"
	check_figures awq-gemm-g32 "14 weights=14 codes=14 scales=14"
	check_figures ct012-actorder-group "14 weights=14 codes=14 scales=14"
	check_figures gemma-int248 "15 weights=15 codes=0 scales=15"
	check_figures hqq-2b-g16-axis0-qwen2 "14 weights=14 codes=14 scales=14"
	check_figures mlx-3b-g32 "16 weights=16 codes=16 scales=16"
}

@test "figures of float formats" {
	check_figures f-fp8-dsv3-shards "28 weights=28 codes=28 scales=28"
	check_figures f-fp8-experts-3d "6 weights=6 codes=6 scales=6"
	check_figures f-mxfp4-gptoss "4 weights=4 codes=4 scales=4"
	check_figures f-bnb-gpt2 "4 weights=4 codes=4 scales=0"
}

@test "codes of synthetic models: odd numbers of them, MXFP6, int8" {
	check_synthetic bnb_odd "7 weights=7 codes=7 scales=0"
	check_synthetic bnb_both "3 weights=3 codes=3 scales=0"
	check_synthetic fp4_mixed "9 weights=9 codes=9 scales=9"
}

@test "bits per weight count all stored bytes" {
	find_model tiny-llama-4b-g32-shard
	stats_json
	run -0 jq -e '.modules[] | select(.name == "model.layers.0.mlp.up_proj") |
		.format == "GPTQ" and .bits == 4 and .group_size == 32 and .against == null and (.codes.histogram | length) == 16' "$json"
	[[ $(jq -r '[.total.stored_bytes, .total.weights, .total.against] | map(tostring) | join(" ")' "$json") = \
		"$("$GPTQFS" --check --json "$source" | jq -r '.modules | [(map(.packed_bytes) | add),
			(map(.in_features * .out_features) | add), null] | map(tostring) | join(" ")')" ]]
}

@test "a model against itself has no error" {
	for name in tiny-llama-4b-g32-shard mlx-moe-qwen3 f-mxfp4-gptoss tiny-phi3-4b-g32; do
		find_model "$name"
		stats_json --against="$source"
		jq -e '(.unpaired | length) == 0 and (.changed | length) == 0 and .total.compared == .total.modules and
			(.modules | all(.against | .rel_error == 0 and .sqnr_db == null and .max_abs == 0 and .cosine == 1))' \
			"$json" >/dev/null || fail "$name: $(head -c 2000 "$json")"
	done
}

@test "the same figures with one CPU and without vectors" {
	find_model awq-gemm-g32
	stats_json --against="$source"
	mv "$json" "$json.all"
	json=$BATS_TEST_TMPDIR/stats.json
	taskset -c "$(taskset -pc $$ | sed 's/.*[ ,-]//')" "$GPTQFS" --stats --json --cpu=c --against="$source" "$source" >"$json" \
		2>/dev/null
	cmp "$json" "$json.all"
}

@test "joined modules pair with separate ones" {
	local other

	find_model tiny-llama-4b-g32-shard
	other=$(export_view fused/fp32)
	stats_json --against="$other"
	jq -e '(.unpaired | length) == 0 and .total.compared == 14 and .total.against.rel_error == 0' "$json" || fail "$(<"$json")"
	find_model tiny-phi3-4b-g32
	stats_json --against="$(export_view fp32)"
	jq -e '(.unpaired | length) == 0 and .total.compared == .total.modules and .total.against.rel_error == 0' "$json" ||
		fail "$(<"$json")"
}

@test "single experts pair with columns of a stack, side by side or alternating" {
	for kind in llama4 gpt_oss_halves gpt_oss_interleaved; do
		source=$BATS_TEST_TMPDIR/$kind
		python3 -S "$TESTS/tools/make_checkpoint.py" "$kind" "$source"
		stats_json --against="$(export_view fp32)"
		jq -e '.total.compared == .total.modules and (.modules | all(.against.max_abs == 0))' "$json" || fail "$kind: $(<"$json")"
		stats_json --against="$(export_view bf16)"
		jq -e '.modules | all(.against.rel_error > 0 and .against.rel_error < 0.004)' "$json" || fail "$kind: $(<"$json")"
	done
}

@test "what has no counterpart or differs is listed" {
	copy_model tiny-llama-4b-g32-shard
	source=$model
	edit_copy=$(export_view fp32)
	python3 -S - "$edit_copy" <<'END'
import glob, json, struct, sys

path = glob.glob(sys.argv[1] + "/*.safetensors")[0]
data = bytearray(open(path, "rb").read())
end = 8 + struct.unpack_from("<Q", data)[0]
header = json.loads(data[8:end])
at = end + header["model.norm.weight"]["data_offsets"][0]
struct.pack_into("<f", data, at + 8, struct.unpack_from("<f", data, at + 8)[0] + 0.25)
text = data[8:end].replace(b"layers.1.mlp.up_proj.weight", b"layers.1.mlp.ux_proj.weight")
open(path, "wb").write(data[:8] + text + data[end:])
END
	stats_json --against="$edit_copy"
	[[ $(jq -c '.unpaired' "$json") = '[{"name":"model.layers.1.mlp.up_proj.weight","reason":"absent","of":"model"},'\
'{"name":"model.layers.1.mlp.ux_proj.weight","reason":"absent","of":"against"}]' ]] || fail "$(jq -c .unpaired "$json")"
	jq -e '(.changed | length) == 1 and .changed[0].name == "model.norm.weight" and .changed[0].against.max_at == [0, 2] and
		.changed[0].against.max_abs == 0.25 and .total.compared == 13' "$json" || fail "$(jq -c .changed "$json")"
	run -0 --separate-stderr "$GPTQFS" --stats --against="$edit_copy" "$source"
	[[ $output = *"is not in the other model"*"is only in the other model"*"but differ:"*model.norm.weight* ]]
}

@test "nothing to compare, and options that do not go together" {
	find_model f-mxfp4-gptoss
	other=$source
	find_model tiny-llama-4b-g32-shard
	run -3 --separate-stderr "$GPTQFS" --stats --against="$other" "$source"
	[[ $stderr = *"no module has a counterpart"* ]]
	run -2 "$GPTQFS" --stats --against="$BATS_TEST_TMPDIR/none" "$source"
	run -1 --separate-stderr "$GPTQFS" --check --against="$other" "$source"
	[[ $stderr = *"--against goes with --stats"* ]]
	run -1 "$GPTQFS" --check --stats "$source"
	run -0 --separate-stderr "$GPTQFS" -q --stats "$source"
	[[ -z $output && -z $stderr ]]
}

@test "the table has at most 100 columns, and colours only on a terminal" {
	find_model mlx-moe-qwen3
	for option in --all --against="$source" --stats; do
		run -0 --separate-stderr env LC_ALL=C.UTF-8 "$GPTQFS" --stats "$option" "$source"
		[[ $output != *$'\033'* ]]
		(($(LC_ALL=C.UTF-8 wc -L <<<"$output") <= 100))
	done
	[[ $output = *$'\nq  '*$'\nexperts  '*$'\nhead  '*"least use of their bits:"*"36 modules"* ]]
	LC_ALL=C "$GPTQFS" --stats "$source" 2>/dev/null | { ! LC_ALL=C grep -P '[^\x20-\x7e]'; }
	[[ $(script -qec "env TERM=xterm NO_COLOR= '$GPTQFS' --stats '$source'" /dev/null) = *$'\033[1m'* ]]
	[[ $(script -qec "env TERM=xterm NO_COLOR=1 '$GPTQFS' --stats '$source'" /dev/null) != *$'\033[1m'* ]]
}

@test "SIGINT prints what is finished" {
	local pid code=0 i

	python3 -S "$TESTS/bench/make_model.py" flat --tensors 40 --view-gb 40 --sparse "$model" >/dev/null
	"$GPTQFS" --stats --json "$model" >"$BATS_TEST_TMPDIR/json" 2>"$BATS_TEST_TMPDIR/err" &
	pid=$!
	for ((i = 0; i < 100; i++)); do
		grep -q computed "$BATS_TEST_TMPDIR/err" && break
		sleep 0.1
	done
	kill -INT "$pid"
	wait "$pid" || code=$?
	[[ $code = 130 ]] || fail "exit $code: $(<"$BATS_TEST_TMPDIR/err")"
	grep -q interrupted "$BATS_TEST_TMPDIR/err"
	jq -e '.total.complete == false and (.modules | length) < 40 and .total.modules == (.modules | length)' "$BATS_TEST_TMPDIR/json"
}
