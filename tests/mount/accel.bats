#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Mounts with an accelerator: fake plugins, and the CUDA plugin on the libcuda.so.1 of tests/cuda.

load lib

FAKES=$(dirname "$GPTQFS")/fake
CUDA=$(dirname "$GPTQFS")/fake_cuda

# mount_accel ACCEL [OPTION...]: in the foreground with the CUDA plugin of the tests; log in $log.
mount_accel() {
	local accel=$1

	shift
	log=$BATS_TEST_TMPDIR/log
	find_model tiny-llama-4b-g32-asym-act
	GPTQFS_CUDA_PLUGIN=${plugin:-$CUDA/gptqfs-cuda.so} LD_LIBRARY_PATH=${libraries-$CUDA} \
		mount_foreground "$log" -o accel="$accel" "$@" "$source" "$mnt"
}

# expect_line PATTERN: exactly one log line is about the accelerator, and it matches.
expect_line() {
	[[ $(grep -c '^gptqfs: accelerator ' "$log") = 1 ]] || fail "not one line: $(cat "$log")"
	grep -q "^gptqfs: accelerator .*$1" "$log" || fail "expected $1: $(cat "$log")"
}

@test "gptqfs is linked with neither the plugin nor CUDA" {
	run -0 ldd "$GPTQFS"
	[[ $output != *libcuda* && $output != *cuda.so* ]]
}

@test "without accel= nothing is loaded and nothing is printed" {
	find_model tiny-llama-4b-g32-asym-act
	mount_foreground "$BATS_TEST_TMPDIR/log" "$source" "$mnt"
	compare_views "$mnt"
	run -1 grep -q 'libcuda\|cuda\.so\|/fake/' "/proc/$server/maps"
	run -1 grep -q accelerator "$BATS_TEST_TMPDIR/log"
	unmount "$mnt"
}

@test "accel=cuda decodes on the device, bit for bit" {
	mount_accel cuda --cpu=c
	compare_views "$mnt"
	expect_line 'cuda (this CPU, driver for CUDA 13.0): .* GB/s in pieces of 128 KiB (the CPU: .*; it decodes$'
	grep -q gptqfs-cuda.so "/proc/$server/maps"
	# status has the choice, and both speeds.
	grep -Eq '^Accelerator: +used$' "$mnt/status"
	grep -Eq '^Accelerator_choice: +cuda$' "$mnt/status"
	grep -Eq '^Accelerator_reason: .* GB/s in pieces of 128 KiB \(the CPU: .*1024 KiB \(the CPU: ' "$mnt/status"
	grep -Eq '^Accelerator_bytes: +[1-9]' "$mnt/status"
	unmount "$mnt"
}

@test "cuda_mem=6m has no room for a matrix, and all bytes are right" {
	mount_accel cuda -o cuda_mem=6m
	compare_views "$mnt"
	expect_line 'it decodes$'
	unmount "$mnt"
}

@test "cuda_mem= too small: one line, and the CPU" {
	mount_accel cuda -o cuda_mem=1m
	compare_views "$mnt"
	expect_line 'cuda_mem=1048576 is too small: it takes at least 6m; the CPU decodes'
	unmount "$mnt"
}

@test "no driver: one line, and the CPU" {
	libraries='' mount_accel cuda
	compare_views "$mnt"
	expect_line 'the CPU decodes$'
	unmount "$mnt"
}

@test "no plugin installed: one line, and the CPU" {
	plugin=/nowhere/gptqfs-cuda.so mount_accel auto
	compare_views "$mnt"
	expect_line 'cannot be loaded.*the CPU decodes$'
	unmount "$mnt"
}

@test "auto does not use a plugin that is slower" {
	plugin=$FAKES/slow.so mount_accel auto
	compare_views "$mnt"
	expect_line 'the CPU is faster and decodes$'
	run -1 grep -q slow.so "/proc/$server/maps"
	unmount "$mnt"
}

@test "a plugin with wrong bytes is refused before it is used" {
	mount_accel "$FAKES/wrong.so"
	compare_views "$mnt"
	expect_line 'wrong bytes: .* the CPU decodes$'
	unmount "$mnt"
}

@test "bytes overwritten during transfer to the device are detected" {
	plugin=$CUDA/impatient.so mount_accel cuda
	compare_views "$mnt"
	expect_line 'wrong bytes: the last rows of .* the CPU decodes$'
	unmount "$mnt"
}

@test "a device lost while serving costs two log lines and no error" {
	export FAKE_CUDA_FAILS=$BATS_TEST_TMPDIR/lost
	mount_accel cuda -o direct_io
	compare_view "$mnt/fp16" F16
	touch "$FAKE_CUDA_FAILS"
	compare_views "$mnt"
	[[ $(grep -c '^gptqfs: accelerator ' "$log") = 2 ]]
	grep -q 'failed while serving: cuStreamSynchronize: .*; from now on the CPU decodes$' "$log"
	unmount "$mnt"
}

@test "in the background, after the fork" {
	find_model tiny-llama-4b-g32-asym-act
	GPTQFS_CUDA_PLUGIN=$CUDA/gptqfs-cuda.so LD_LIBRARY_PATH=$CUDA mount_model -o accel=cuda "$source" "$mnt"
	compare_views "$mnt"
	grep -q gptqfs-cuda.so "/proc/$server/maps"
	unmount "$mnt"
}

@test "a changed source gives EIO even if the device has all of it" {
	copy_model tiny-llama-4b-g32-shard
	log=$BATS_TEST_TMPDIR/log
	GPTQFS_CUDA_PLUGIN=$CUDA/gptqfs-cuda.so LD_LIBRARY_PATH=$CUDA \
		mount_foreground "$log" -o accel=cuda,direct_io "$model" "$mnt"
	compare_view "$mnt/fp16" F16
	touch -d '2001-01-01' "$model"/*.safetensors
	run cat "$mnt/fp16/model.safetensors"
	[[ $status != 0 && $output = *"Input/output error"* ]]
	[[ $(grep -c 'accelerator' "$log") = 1 ]]
	unmount "$mnt"
}

@test "accel= with neither a known word nor an absolute path is a usage error" {
	find_model tiny-llama-4b-g32-asym-act
	mkdir "$mnt"
	for wrong in gpu ./plugin.so ''; do
		run -1 "$GPTQFS" -o accel="$wrong" "$source" "$mnt"
		[[ $output = *"expected none, auto, cuda or the absolute path of a plugin"* ]]
	done
	run -1 "$GPTQFS" -o accel=cuda,cuda_mem=much "$source" "$mnt"
	[[ $output = *"cuda_mem=much: expected a size"* ]]
}
