#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What the server of a mount cannot do, seen from inside (try.c), and that the mount goes away with it.

load lib

setup() {
	mnt=$BATS_TEST_TMPDIR/mnt
	model=$BATS_TEST_TMPDIR/model
	watch_sanitizers
	sanitized && skip "there is no sandbox with sanitizers"
	TRY=$(dirname "$GPTQFS")/gptqfs-try
	make_checkpoint plain
	export TRY_FILE=$model/tokenizer.json TRY_MOUNT=$mnt
	unset TRY_SECCOMP TRY_LANDLOCK
	GPTQFS=$TRY
}

# in_force: what status says.
in_force() {
	sed -n 's/^Sandbox: *//p' "$mnt/status"
}

# with_landlock, with_seccomp: skips where the kernel or the container has none.
with_landlock() {
	mount_model "$model" "$mnt"
	[[ $(in_force) = "landlock "[1-9]* ]] || skip "no landlock: $(in_force)"
	unmount "$mnt"
}

with_seccomp() {
	mount_model "$model" "$mnt"
	[[ $(in_force) = *seccomp && $(in_force) != *"no seccomp"* ]] || skip "no seccomp: $(in_force)"
	unmount "$mnt"
}

# tries WORD...: NAME=ERROR each, tried in the server.
tries() {
	local word error

	for word; do
		error=$(getfattr --only-values --absolute-names -n "user.gptqfs.try.${word%%=*}" "$mnt")
		[[ $error = "${word#*=}" ]] || fail "${word%%=*}: $error"
	done
}

all_refused=(read=ENOSYS list=ENOSYS create=ENOSYS write=ENOSYS remove=ENOSYS connect=ENOSYS exec=ENOSYS mount=ENOSYS
	unmount=ENOSYS ptrace=ENOSYS signal=ENOSYS fork=EPERM code=EPERM)

@test "the server opens, writes, starts and mounts nothing, and reaches nobody" {
	with_landlock
	with_seccomp
	mount_model "$model" "$mnt"
	[[ $(in_force) = "landlock "[1-9]*", seccomp" && $(sed -n "s,^Sandbox: *,,p" "$mnt/info") = "$(in_force)" ]]
	tries "${all_refused[@]}"
	is_running "$server"
	compare_views "$mnt"
}

@test "landlock alone refuses files, programs, mounts and tracing" {
	with_landlock
	export TRY_SECCOMP=none
	mount_model "$model" "$mnt"
	[[ $(in_force) = "landlock "*" (no seccomp: not in this kernel)" ]] || fail "$(in_force)"
	tries read=EACCES list=EACCES create=EACCES write=EACCES remove=EACCES exec=EACCES mount=EPERM unmount=EPERM \
		ptrace=EPERM fork=done
	[[ $(in_force) != "landlock "[4-9]* ]] || tries connect=EACCES
	[[ $(in_force) != "landlock "[6-9]* ]] || tries signal=EPERM
	compare_views "$mnt"
}

@test "seccomp alone refuses all of it" {
	with_seccomp
	export TRY_LANDLOCK=none
	mount_model "$model" "$mnt"
	[[ $(in_force) = "seccomp (no landlock: not in this kernel)" ]] || fail "$(in_force)"
	tries "${all_refused[@]}"
}

@test "without a sandbox nothing is refused, and status says so" {
	mount_model -o sandbox=no "$model" "$mnt"
	[[ $(in_force) = "none (sandbox=no)" ]]
	tries read=done list=done fork=done code=done
	unmount "$mnt"
	export TRY_SECCOMP=none TRY_LANDLOCK=none
	mount_model "$model" "$mnt"
	[[ $(in_force) = "none (landlock: not in this kernel; seccomp: not in this kernel)" ]] || fail "$(in_force)"
	tries read=done
}

@test "sandbox=yes refuses to run with less" {
	with_landlock
	with_seccomp
	mount_model -o sandbox=yes "$model" "$mnt"
	unmount "$mnt"
	for without in TRY_SECCOMP TRY_LANDLOCK; do
		run -5 env $without=none "$GPTQFS" -o sandbox=yes "$model" "$mnt"
		[[ $output = *"sandbox=yes: "*"not in this kernel"* ]] || fail "$output"
		not_mounted "$mnt"
	done
	run -1 "$GPTQFS" -o sandbox=perhaps "$model" "$mnt"
}

@test "no capability is left, and no privilege can be gained" {
	with_seccomp
	mount_model "$model" "$mnt"
	run -0 grep -E "^(CapEff|CapPrm|CapInh|NoNewPrivs|Seccomp):" "/proc/$server/status"
	# CAP_SYS_RESOURCE at most, for pipes.
	[[ $output =~ CapPrm:[[:blank:]]+000000000[01]000000 && $output =~ NoNewPrivs:[[:blank:]]+1 ]] || fail "$output"
}

# Any call that is not on the lists ends the server here.
@test "a whole life needs no other system call" {
	with_seccomp
	export TRY_SECCOMP=kill
	for name in tiny-llama-4b-g32-shard tiny-llama-3b-g32-asym; do
		find_model "$name"
		mount_model -o sandbox=yes "$source" "$mnt"
		compare_views "$mnt"
		find "$mnt" -type f -print0 | xargs -0 -n 20 cat >/dev/null
		dd if="$mnt/fp16/config.json" of=/dev/null bs=4096 iflag=direct status=none
		getfattr -R -d -m - "$mnt" >/dev/null
		df "$mnt" >/dev/null
		find "$mnt" -type f -print0 | xargs -0 -P 8 -n 5 cat >/dev/null
		kill -USR1 "$server"
		# Memory is given back after a few seconds.
		sleep 6
		cmp "$mnt/fp16/config.json" "$mnt/fp16/config.json"
		is_running "$server"
		exec 9<"$mnt/fp16/config.json"
		kill -TERM "$server"
		wait_until 10 not_mounted "$mnt"
		is_running "$server"
		cat <&9 >/dev/null
		exec 9<&-
		wait_until 10 is_gone "$server"
	done
	# The hook does end it.
	mount_model "$model" "$mnt"
	run ! getfattr -n user.gptqfs.try.read "$mnt"
	wait_until 10 not_mounted "$mnt"
}

@test "reading without a mount is confined, and needs no other system call" {
	with_seccomp
	find_model tiny-llama-4b-g32-shard
	export TRY_SECCOMP=kill
	run -0 "$GPTQFS" -o sandbox=yes --check "$source"
	run -0 "$GPTQFS" -o sandbox=yes --check --json -q "$source"
	run -0 "$GPTQFS" -o sandbox=yes --check --sha256 "$source"
	run -0 "$GPTQFS" -o sandbox=yes --ls=fp16 "$source"
	run -0 "$GPTQFS" -o sandbox=yes --stats --against="$source" "$source"
	"$GPTQFS" -o sandbox=yes --cat=fp16/config.json "$source" | jq . >/dev/null
	"$GPTQFS" -o sandbox=yes --export=- "$source" | tar -t >/dev/null
	# With a progress bar.
	run -0 script -qec "$GPTQFS -o sandbox=yes --check --sha256 $source >/dev/null" /dev/null
}

@test "an export writes to its directory and nowhere else, and needs no other system call" {
	with_landlock
	with_seccomp
	find_model tiny-llama-4b-g32-shard
	out=$BATS_TEST_TMPDIR/out
	TRY_EXPORT=1 "$GPTQFS" -q -o sandbox=yes --export="$out" "$source" >"$BATS_TEST_TMPDIR/tried"
	run ! grep -vE "^(read|list|create|write)=EACCES$|^(remove|connect|exec|mount|unmount|ptrace|signal)=ENOSYS$|^(fork|code)=EPERM$" \
		"$BATS_TEST_TMPDIR/tried"
	[[ $(wc -l <"$BATS_TEST_TMPDIR/tried") = 13 ]]
	compare_view "$out" F16
	export TRY_SECCOMP=kill
	run -0 "$GPTQFS" -o sandbox=yes --export="$out" --verify --force "$source"
	rm "$out/config.json"
	echo "gptqfs export 1" >"$out/.gptqfs-export"
	mv "$out/model.safetensors" "$out/.gptqfs-part-1"
	run -0 "$GPTQFS" -o sandbox=yes --export="$out" "$source"
	run -0 "$GPTQFS" -o sandbox=yes --export="$out/tensors" -o view=tensors "$source"
	compare_view "$out" F16
	# One that is refused leaves nothing.
	run -2 "$GPTQFS" -o sandbox=yes --export="$BATS_TEST_TMPDIR/new/" "$TESTS/data"
	[[ ! -e $BATS_TEST_TMPDIR/new ]]
	run -1 "$GPTQFS" -o sandbox=yes --export="$model/sub" "$model"
	[[ $output = *"in the directory of the model"* && ! -e $model/sub ]]
}

@test "links of a cache entry lead to its blobs, and adapters are read" {
	with_landlock
	rm -rf "$model"
	make_checkpoint hf_cache
	mount_model -o sandbox=yes "$model" "$mnt"
	compare_view "$mnt/fp16" F16
	unmount "$mnt"
	mount_model -o sandbox=yes "$model"/snapshots/* "$mnt"
	compare_view "$mnt/fp16" F16
	unmount "$mnt"
	base=$TESTS/data/models/tiny-qwen2-4b-g64-asym
	mount_model -o "sandbox=yes,lora=$TESTS/data/lora/adapters/qwen2-bias-all:0.5" "$base" "$mnt"
	cat "$mnt/fp16/model.safetensors" >/dev/null
	unmount "$mnt"
	mkdir "$BATS_TEST_TMPDIR/adapters"
	ln -s "$TESTS/data/lora/adapters/qwen2-bias-all" "$BATS_TEST_TMPDIR/adapters/linked"
	mount_model -o "sandbox=yes,loras=$BATS_TEST_TMPDIR/adapters" "$base" "$mnt"
	cat "$mnt/lora/linked/fp16/model.safetensors" >/dev/null
}

@test "the server is killed: its mount is removed, and a helper that is killed takes nothing away" {
	mount_model "$model" "$mnt"
	kill -KILL "$server"
	wait_until 10 not_mounted "$mnt"
	mount_model "$model" "$mnt"
	kill -KILL "$(awk '/^PPid/ { print $2 }' "/proc/$server/status")"
	cmp "$mnt/fp16/tokenizer.json" "$model/tokenizer.json"
	unmount "$mnt"
}

@test "one signal to both processes is one request" {
	mount_model "$model" "$mnt"
	exec 9<"$mnt/fp16/tokenizer.json"
	kill -TERM "$server" "$(awk '/^PPid/ { print $2 }' "/proc/$server/status")"
	wait_until 10 not_mounted "$mnt"
	sleep 0.2
	is_running "$server"
	cmp - "$model/tokenizer.json" <&9
	exec 9<&-
	wait_until 10 is_gone "$server"
}

@test "another user, through fusermount3" {
	need_namespace
	with_landlock
	public_directory
	cp -r "$model" "$dir/model"
	chmod -R a+rX "$dir/model"
	mkdir "$dir/mnt"
	chown nobody "$dir/mnt"
	run -0 unshare -m bash -c 'mount -t tmpfs none /mnt && mknod -m 666 /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse &&
		setpriv --reuid=65534 --regid=65534 --clear-groups "$@"' bash "$GPTQFS" -o sandbox=yes "$dir/model" "$dir/mnt" -- \
		sh -c "cat $dir/mnt/status; cmp $dir/mnt/fp16/tokenizer.json $dir/model/tokenizer.json" 3>&-
	[[ $output = *"Sandbox:"*"landlock "*", seccomp"* ]] || fail "$output"
}
