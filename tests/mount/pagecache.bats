#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# -o pagecache=: the same files by EROFS, where the kernel can. That a read fails or is right, but is never wrong.

load lib

setup() {
	mnt=$BATS_TEST_TMPDIR/mnt
	model=$BATS_TEST_TMPDIR/model
	watch_sanitizers
	[ "$(id -u)" = 0 ] || skip "needs root"
}

# mount_erofs OPTIONS [ARGUMENT...]: of $model; the test is skipped if the kernel cannot do it.
mount_erofs() {
	local options=$1 why

	shift
	mkdir -p "$mnt"
	mount_model -o pagecache=auto"$options" "$@" "$model" "$mnt"
	[[ $(findmnt -no FSTYPE "$mnt" | tail -n 1) != erofs ]] || return 0
	has_face "$server" && return
	why=$(sed -n "s/^Page_cache: *//p" "$mnt/info" 2>/dev/null)
	unmount "$mnt"
	skip "no EROFS: ${why:-see the option}"
}

# What face.bats tells of a mount that is seen through FUSE.
without_face() {
	has_face "$server" || return 0
	unmount_erofs
	skip "seen through FUSE"
}

leaves() {
	wait_until 20 is_gone "$server" || fail "the server did not leave"
}

unmount_erofs() {
	umount "$mnt"
	leaves
}

# list DIRECTORY TYPE FORMAT: what both kinds of mount have.
list() {
	(cd "$1" && find . -type "$2" ! -path ./status ! -path './info*' ! -path './gguf*' ! -path './mlx*' -printf "$3\n" | sort)
}

attributes() {
	(cd "$1" && getfattr -R -d fp16 bf16 tensors packed 2>/dev/null)
}

@test "the same names, attributes and bytes as by FUSE" {
	make_checkpoint names
	mkdir "$mnt.fuse"
	mount_model -o allow_other "$model" "$mnt.fuse"
	fuse=$server
	mount_erofs ,allow_other
	diff <(list "$mnt" f '%p %m %U %G %T@ %s %n') <(list "$mnt.fuse" f '%p %m %U %G %T@ %s %n')
	diff <(list "$mnt" d '%p %m %U %G %T@ %n') <(list "$mnt.fuse" d '%p %m %U %G %T@ %n' | sed '/^\. /s/[0-9]*$/'"$(stat -c %h "$mnt")/")
	diff <(attributes "$mnt") <(attributes "$mnt.fuse")
	[ -n "$(attributes "$mnt")" ]
	diff -r "$mnt/tensors" "$mnt.fuse/tensors"
	diff -r "$mnt/bf16" "$mnt.fuse/bf16"
	grep -q "^Page_cache: *EROFS" "$mnt/info"
	has_face "$server" || [ ! -e "$mnt/status" ]
	has_face "$server" || [ "$(stat -f -c %T "$mnt")" != fuseblk ]
	unmount_erofs
	server=$fuse
	unmount "$mnt.fuse"
}

@test "views that are planned late, adapters, and options" {
	copy_model tiny-llama-4b-g32-shard
	mount_erofs ,view=gguf,noxattr
	"$GPTQFS" --cat=gguf/"$(ls "$mnt" | grep 'gguf$')" "$model" | cmp - "$mnt"/*.gguf
	[ -z "$(getfattr -d "$mnt")" ]
	unmount_erofs
	mount_erofs ,view=bf16,max_read=65536,max_threads=1,umask=0077,uid=1000,readahead=256
	"$GPTQFS" --cat=bf16/model.safetensors "$model" | cmp - "$mnt/model.safetensors"
	[ "$(stat -c %a,%u "$mnt/model.safetensors")" = 400,1000 ]
	unmount_erofs
}

@test "adapters and the file for llama.cpp have the bytes of the FUSE mount" {
	find_model tiny-qwen2-4b-g64-asym
	find_adapter qwen2-bias-all
	model=$source
	mkdir "$mnt.fuse"
	for options in "lora=$adapter:0.5" "lora=$adapter,view=gguf" view=gguf; do
		mount_model -o "$options" "$model" "$mnt.fuse"
		fuse=$server
		mount_erofs ",$options"
		for name in $(cd "$mnt" && find . -type f ! -name info\* ! -name status ! -name README); do
			cmp "$mnt/$name" "$mnt.fuse/$name"
		done
		[[ $options = *gguf || -s $mnt/bf16/model.safetensors ]]
		[[ $options != *gguf || -s $(echo "$mnt"/*.gguf) ]]
		unmount_erofs
		server=$fuse
		unmount "$mnt.fuse"
	done
}

@test "the name of the mount" {
	make_checkpoint plain
	for name in weights a/b "/models/a, b"; do
		mount_erofs ",view=fp16,fsname=${name//,/\\,}"
		without_face
		[[ $(findmnt -no SOURCE "$mnt") = "gptqfs:$name" ]]
		"$GPTQFS" --list --json | jq -e --arg at "$mnt" --arg name "$name" '.[] | select(.mountpoint == $at).model == $name'
		cat "$mnt/model.safetensors" >/dev/null
		run -0 "$GPTQFS" -u "$mnt"
		leaves
	done
	for name in a/ .. a/../b; do
		run -4 "$GPTQFS" -o "pagecache=erofs,fsname=$name" "$model" "$mnt"
		[[ $output = *"fsname=$name: the kernel treats it as a path"* ]]
	done
}

@test "who may read" {
	public_directory
	chmod 755 "$dir"
	make_checkpoint plain
	mnt=$dir/mnt
	mount_erofs ,view=fp16,umask=0
	cat "$mnt/config.json" >/dev/null
	run ! setpriv --reuid 65534 --clear-groups cat "$mnt/config.json"
	unmount_erofs
	mount_erofs ,view=fp16,allow_other,umask=0
	setpriv --reuid 65534 --clear-groups cat "$mnt/config.json" >/dev/null
	unmount_erofs
}

@test "mount -a, which takes it for another one, mounts it once" {
	make_checkpoint plain
	mount_erofs ,view=fp16
	ln -s "$GPTQFS" "$BATS_TEST_TMPDIR/mount.gptqfs"
	run -0 "$BATS_TEST_TMPDIR/mount.gptqfs" "$model" "$mnt" -o ro,pagecache=auto
	[[ $output = *": mounted already" ]] || fail "$output"
	[ "$(grep -c " $mnt " /proc/self/mountinfo)" = 1 ]
	# Another model hides it.
	cp -r "$model" "$model.2"
	run -0 "$BATS_TEST_TMPDIR/mount.gptqfs" "$model.2" "$mnt" -o ro,pagecache=auto 3>&-
	[ "$(grep -c " $mnt " /proc/self/mountinfo)" = 2 ]
	umount "$mnt"
	unmount_erofs
}

# mount_all: twice, as fstab has it, with gptqfs where mount(8) finds it. In a namespace of its own, where it is unmounted.
mount_all() {
	in_private bash -c 'mount --bind "$1" /usr/local/bin && mount -a -T "$2" && mount -a -T "$2" && grep -F "$3" /proc/self/mountinfo
		while umount "$3"; do :; done' bash "$BATS_TEST_TMPDIR/bin" "$BATS_TEST_TMPDIR/fstab" "$mnt" 2>/dev/null 3>&-
}

@test "fstab: a line is mounted once, by whatever name the model goes" {
	need_namespace
	make_checkpoint hf_cache
	mount_erofs ,view=fp16
	declare -A types=([fuse]=fuse.gptqfs [erofs]=$(findmnt -no FSTYPE "$mnt"))
	unmount_erofs
	mkdir "$BATS_TEST_TMPDIR/bin"
	ln -s "$GPTQFS" "$BATS_TEST_TMPDIR/bin/gptqfs"
	export HF_HUB_CACHE=${model%/*}
	deep=$BATS_TEST_TMPDIR/d$(printf '/d%.0s' {1..120})
	mkdir -p "$deep"
	cp -rL "$model"/snapshots/* "$deep/model"
	for cache in fuse erofs; do
		for name in org/name "$model" "$model"/snapshots/* "$deep/model"; do
			echo "$name $mnt fuse.gptqfs pagecache=$cache,view=fp16 0 0" >"$BATS_TEST_TMPDIR/fstab"
			run mount_all
			[[ $(wc -l <<<"$output") = 1 && $output = *" - ${types[$cache]} "* ]] || fail "$name" "$output"
		done
	done
}

@test "it is listed, tells its counters, and goes by gptqfs -u" {
	make_checkpoint plain
	mount_erofs ,view=fp16
	cat "$mnt/model.safetensors" >/dev/null
	"$GPTQFS" --list --json | jq -e --arg at "$mnt" --arg model "$model" --argjson pid "$server" \
		'.[] | select(.mountpoint == $at) | .state == "served" and .model == $model and .view == "fp16" and .pid == $pid'
	run -0 "$GPTQFS" -u "$mnt"
	leaves
	mount_foreground "$BATS_TEST_TMPDIR/log" -o pagecache=auto "$model" "$mnt"
	grep -q "pagecache=auto: erofs" "$BATS_TEST_TMPDIR/log"
	cat "$mnt/fp16/model.safetensors" >/dev/null
	kill -USR1 "$helper"
	wait_until 10 grep -q "bytes_served [1-9]" "$BATS_TEST_TMPDIR/log"
	kill -TERM "$helper"
	leaves
	not_mounted "$mnt"
}

@test "a mount that is in use" {
	make_checkpoint plain
	"$GPTQFS" --cat=fp16/model.safetensors "$model" >"$BATS_TEST_TMPDIR/copy"
	mount_erofs ,view=fp16
	exec 9<"$mnt/model.safetensors"
	run ! umount "$mnt"
	run -4 "$GPTQFS" -u "$mnt"
	first=$server
	# Another one above it.
	mount_erofs ,view=bf16
	unmount_erofs
	server=$first
	umount -l "$mnt"
	not_mounted "$mnt"
	cmp /dev/fd/9 "$BATS_TEST_TMPDIR/copy"
	is_running "$server"
	exec 9<&-
	leaves
	mount_erofs ,view=fp16
	exec 9<"$mnt/model.safetensors"
	kill -TERM "$server"
	wait_until 20 not_mounted "$mnt"
	cmp /dev/fd/9 "$BATS_TEST_TMPDIR/copy"
	exec 9<&-
	leaves
}

@test "a command has the mount, and its temporary one" {
	make_checkpoint plain
	mount_erofs ,view=fp16
	type=$(findmnt -no FSTYPE "$mnt")
	unmount_erofs
	run -0 "$GPTQFS" -o pagecache=erofs,view=fp16 "$model" -- findmnt -no FSTYPE {}
	[ "$output" = "$type" ]
	run -7 "$GPTQFS" -o pagecache=erofs,view=fp16 "$model" "$mnt" -- sh -c 'cmp "$1" "$2" && exit 7' - "$mnt/tokenizer.json" "$model/tokenizer.json"
	not_mounted "$mnt"
}

@test "a path that is too long for the source of a mount" {
	make_checkpoint plain
	mount_erofs ,view=fp16
	without_face
	unmount_erofs
	# Cut within a name and after a slash.
	for first in d dd; do
		deep=$BATS_TEST_TMPDIR/$first$(printf '/d%.0s' {1..120})
		mkdir -p "$deep"
		cp -r "$model" "$deep"
		run -0 "$GPTQFS" -o pagecache=erofs,view=fp16 "$deep/model" "$mnt" -- \
			sh -c 'cmp "$1" "$2" && "$3" --list' - "$mnt/tokenizer.json" "$model/tokenizer.json" "$GPTQFS"
		# Others may have mounts at the same time, with longer paths.
		line=$(grep -F " $mnt " <<<"$output")
		[[ $line =~ \ "$mnt"\ \ +"${deep:0:240}".*\.\.\.$ ]] || fail "$output"
	done
}

@test "over the directory of the model itself" {
	make_checkpoint plain
	"$GPTQFS" --cat=fp16/model.safetensors "$model" >"$BATS_TEST_TMPDIR/copy"
	mnt=$model
	mount_erofs ,view=fp16
	cmp "$mnt/model.safetensors" "$BATS_TEST_TMPDIR/copy"
	unmount_erofs
}

@test "when server or helper are killed, reads fail and nothing is left" {
	make_checkpoint plain
	"$GPTQFS" --cat=fp16/model.safetensors "$model" >"$BATS_TEST_TMPDIR/copy"
	mount_erofs ,view=fp16
	without_face
	exec 9<"$mnt/model.safetensors"
	kill -KILL "$server"
	wait_until 20 not_mounted "$mnt"
	run -0 read_or_eio /dev/fd/9 "$BATS_TEST_TMPDIR/copy"
	[[ $output = *" failed" && $output != *" 0 failed" ]]
	exec 9<&-
	mount_erofs ,view=fp16
	leave_stale "$mnt"
	run ! cat "$mnt/model.safetensors"
	"$GPTQFS" --list | grep -q "^stale .*$mnt "
	run -0 "$GPTQFS" -u "$mnt"
	not_mounted "$mnt"
}

@test "when the process that mounts it dies, what it has mounted goes, and nothing else" {
	[ -x "$(dirname "$GPTQFS")/gptqfs-try" ] || skip "gptqfs-try is not built"
	make_checkpoint plain
	mount_erofs ,view=fp16
	without_face
	unmount_erofs
	GPTQFS=$(dirname "$GPTQFS")/gptqfs-try
	export TRY_DIE=1
	mount -t tmpfs tmpfs "$mnt"
	run -4 "$GPTQFS" -o pagecache=erofs "$model" "$mnt"
	[[ $output = *"the process that mounts it was killed"* ]] || fail "$output"
	[ "$(findmnt -no FSTYPE "$mnt")" = tmpfs ]
	umount "$mnt"
	mount_model -o pagecache=auto "$model" "$mnt"
	[ "$(findmnt -no FSTYPE "$mnt")" = fuse.gptqfs ]
	grep -q "^Page_cache: *FUSE's.*was killed" "$mnt/info"
	unmount "$mnt"
	not_mounted "$mnt"
}

@test "a source that changes" {
	make_checkpoint plain
	"$GPTQFS" --cat=fp16/model.safetensors "$model" >"$BATS_TEST_TMPDIR/copy"
	mount_erofs ,view=fp16
	truncate -s 4096 "$model/model.safetensors"
	run -0 read_or_eio "$mnt/model.safetensors" "$BATS_TEST_TMPDIR/copy"
	[[ $output != *" 0 failed" ]]
	# Touched through a map.
	run ! python3 -c 'import mmap, sys; m = mmap.mmap(open(sys.argv[1]).fileno(), 0, prot=mmap.PROT_READ); sum(m[::4096])' "$mnt/model.safetensors"
	unmount_erofs
}

@test "with little memory" {
	group=/sys/fs/cgroup/memory/gptqfs-$$
	find_model tiny-llama-4b-g32-shard
	model=$source
	mount_erofs ,view=fp32
	mkdir "$group" 2>/dev/null || skip "no memory controller (version 1) here"
	echo 12m >"$group/memory.limit_in_bytes"
	run sh -c 'echo $$ >"$1/cgroup.procs"; for i in 1 2; do for f in "$2"/*.safetensors; do sha256sum <"$f"; done; done' - "$group" "$mnt"
	rmdir "$group"
	[ "$status" = 0 ]
	for file in "$mnt"/*.safetensors; do
		"$GPTQFS" --cat=fp32/"${file##*/}" "$model" | sha256sum
	done >"$BATS_TEST_TMPDIR/sums"
	diff <(printf '%s\n' "$output") <(cat "$BATS_TEST_TMPDIR/sums" "$BATS_TEST_TMPDIR/sums")
	unmount_erofs
}

@test "what EROFS cannot do is refused, or done by FUSE with auto, which says why" {
	make_checkpoint plain
	mkdir -p "$mnt"
	run -4 "$GPTQFS" -o pagecache=erofs,direct_io "$model" "$mnt"
	[[ $output = *"direct_io bypasses"* ]]
	run -1 "$GPTQFS" -o pagecache=ext4 "$model" "$mnt"
	run -4 setpriv --bounding-set -sys_admin --inh-caps -sys_admin "$GPTQFS" -o pagecache=erofs "$model" "$mnt"
	[[ $output = *"needs root"* || $output = *"Linux "* || $output = *"no EROFS"* ]]
	mount_model -o pagecache=auto,direct_io "$model" "$mnt"
	[[ $(findmnt -no FSTYPE "$mnt") = fuse.gptqfs ]]
	grep -q "^Page_cache: *FUSE's.*direct_io" "$mnt/info"
	unmount "$mnt"
	# The kernel refuses it only when all else is ready.
	mount_erofs ,view=fp16
	unmount_erofs
	run -4 unshare -Urm "$GPTQFS" -o pagecache=erofs "$model" "$mnt" -- true
	[[ $output = *"EROFS cannot be mounted"*"not permitted"* ]]
	run -0 unshare -Urm "$GPTQFS" -o pagecache=auto "$model" "$mnt" -- grep ^Page_cache "$mnt/info"
	[[ $output = *"FUSE's, not EROFS's: EROFS cannot be mounted"* ]]
}
