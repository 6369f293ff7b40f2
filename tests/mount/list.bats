#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# --list: the mounts of this machine. Others may have some at the same time.

load lib

setup() {
	mnt=$BATS_TEST_TMPDIR/mnt
	model=$BATS_TEST_TMPDIR/model
	watch_sanitizers
	make_checkpoint plain
}

# row MOUNTPOINT: its line of the table, and its object in $object.
row() {
	object=$("$GPTQFS" --list --json | jq -c --arg at "$1" '.[] | select(.mountpoint == $at)')
	"$GPTQFS" --list | grep -F "  $1 " || "$GPTQFS" --list | grep -F " $1  "
}

@test "a mount has its model, view, size and server" {
	mount_model -o view=fp32 "$model" "$mnt"
	run -0 row "$mnt"
	[[ $output =~ ^served\ +$server\ +[0-9.]+\ .?B\ +fp32\ +$mnt\ \ $model$ ]] || fail "$output"
	row "$mnt"
	[[ $(jq -r '.pid, .view, .model, .state' <<<"$object" | tr '\n' ' ') = "$server fp32 $model served " ]]
	[[ $(jq .bytes <<<"$object") -ge $(stat -c %s "$mnt/model.safetensors") ]]
	unmount "$mnt"
	[[ $("$GPTQFS" --list --json) != *"$mnt"* && $("$GPTQFS" --list) != *"$mnt"* ]]
}

@test "a mount whose server died, and one that another hides" {
	mount_model "$model" "$mnt"
	leave_stale "$mnt"
	row "$mnt"
	[[ $(jq -r '.state, .pid' <<<"$object" | tr '\n' ' ') = "stale null " ]]
	"$GPTQFS" -u "$mnt"
	mount_model "$model" "$mnt"
	first=$server
	mount_model "$model" "$mnt"
	row "$mnt"
	[[ $(jq -r .state <<<"$object" | tr '\n' ' ') = "hidden served " ]]
	"$GPTQFS" -u "$mnt"
}

@test "names of any bytes" {
	local at=$BATS_TEST_TMPDIR/$'m\xc3\xb6 \\"\xff\e[1m'
	mount_model "$model" "$at"
	"$GPTQFS" --list --json | python3 -c '
import json, os, sys
assert os.fsencode(sys.argv[1]) in [os.fsencode(m["mountpoint"]) for m in json.load(sys.stdin)]' "$at"
	[[ $("$GPTQFS" --list) != *$'\e'* ]]
}

@test "a server that claims to have a view that a terminal would obey" {
	local real=$GPTQFS GPTQFS=$(dirname "$GPTQFS")/gptqfs-try

	TRY_VIEW=$'fp16\e[2J\xc2\x9b1m' mount_model "$model" "$mnt"
	run -0 bash -c '"$0" --list | grep -aF " $1 "; "$0" --list --json | grep -aF "\"$1\""' "$real" "$mnt"
	[[ $output = *" fp16?"* && $output != *$'\e'* && $output != *$'\xc2\x9b'* ]]
}

@test "usage" {
	for words in "--list $model" "--list --sha256" "--list --check" "--list -- true"; do
		run -1 "$GPTQFS" $words
	done
	mount_model "$model" "$mnt"
	run -5 bash -c '"$0" --list >/dev/full' "$GPTQFS"
}
