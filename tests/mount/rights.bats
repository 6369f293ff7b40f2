#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# With allow_other: no user reads through the mount what they could not read at the source.

load lib

# public KIND: the checkpoint in a directory that everybody can search, $dir/model; $mnt is beside it.
public() {
	need_root
	make_checkpoint "$1"
	public_directory
	mv "$model" "$dir/model"
	model=$dir/model
	mnt=$dir/mnt
}

# may UID[:GID] FILE: true if that user can read it.
may() {
	setpriv --reuid="${1%:*}" --regid="${1#*:}" --clear-groups head -c 1 "$2" >"$BATS_TEST_TMPDIR/byte" 2>&1
}

# acl PATH ENTRY...: an access control list, of entries TAG:PERMISSIONS[:ID] in numbers.
acl() {
	python3 - "$@" <<'END'
import os, struct, sys
entries = [tuple(int(n) for n in (e + ":4294967295").split(":")[:3]) for e in sys.argv[2:]]
os.setxattr(sys.argv[1], "system.posix_acl_access", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries))
END
}

@test "a private directory below a public one" {
	public companions
	chmod 700 "$model/assets"
	mount_model -o allow_other "$model" "$mnt"
	may 65534 "$mnt/fp16/tokenizer.json"
	may 65534 "$mnt/fp16/1_Pooling/config.json"
	run ! may 65534 "$mnt/fp16/assets/deep/er/note.txt"
	may 0 "$mnt/fp16/assets/deep/er/note.txt"
	[[ $(stat -c %a "$mnt/fp16/assets") = 500 && $(stat -c %a "$mnt/fp16/assets/deep") = 555 ]]
}

@test "a directory that may be listed and not passed" {
	public plain
	chmod 744 "$model"
	mount_model -o allow_other "$model" "$mnt"
	[[ $(stat -c %a "$mnt") = 544 ]]
	run ! may 65534 "$mnt/fp16/config.json"
	run ! may 65534 "$mnt/info"
}

@test "a public directory within a private one" {
	public plain
	mkdir "$dir/home"
	mv "$model" "$dir/home/model"
	chmod 755 "$dir/home/model"
	chmod 700 "$dir/home"
	mount_model -o allow_other "$dir/home/model" "$mnt"
	run ! may 65534 "$mnt/fp16/config.json"
	unmount "$mnt"
	# 0711 is enough for search, and options take precedence.
	chmod 711 "$dir/home"
	mount_model -o allow_other "$dir/home/model" "$mnt"
	may 65534 "$mnt/fp16/config.json"
	unmount "$mnt"
	chmod 700 "$dir/home"
	mount_model -o allow_other,umask=022 "$dir/home/model" "$mnt"
	may 65534 "$mnt/fp16/model.safetensors"
	unmount "$mnt"
	mount_model -o allow_other,uid=65534 "$dir/home/model" "$mnt"
	may 65534 "$mnt/fp16/model.safetensors"
	run ! may 65533 "$mnt/fp16/model.safetensors"
}

@test "private weights: what is computed from them is private too" {
	public plain
	chmod 600 "$model/model.safetensors"
	mount_model -o allow_other "$model" "$mnt"
	may 65534 "$mnt/fp16/tokenizer.json"
	for file in fp16/model.safetensors fused/fp32/model.safetensors packed/model.safetensors packed/quantize_config.json \
		info info.json README status tensors/lm_head.npy tensors/lm_head.info; do
		[[ -e $mnt/$file ]]
		run ! may 65534 "$mnt/$file"
	done
}

@test "shards of several owners" {
	public sharded
	chmod 400 "$model"/model-*.safetensors
	chown 1234:1234 "$model/model-00001-of-00003.safetensors"
	chown 2345:1234 "$model/model-00002-of-00003.safetensors" "$model/model-00003-of-00003.safetensors"
	mount_model -o allow_other "$model" "$mnt"
	run ! may 1234 "$mnt/fp16/model.safetensors"
	run ! may 2345 "$mnt/fp16/model.safetensors"
	unmount "$mnt"
	# Members of their group may read all.
	chmod 440 "$model"/model-*.safetensors
	mount_model -o allow_other "$model" "$mnt"
	may 3456:1234 "$mnt/fp16/model.safetensors"
	run ! may 3456 "$mnt/fp16/model.safetensors"
}

@test "access control lists" {
	public sharded
	# The owning group may do nothing, another one may read: the mode has r for groups.
	chown 0:1234 "$model/model-00001-of-00003.safetensors"
	acl "$model/model-00001-of-00003.safetensors" 1:6 4:0 8:4:2345 16:4 32:0
	[[ $(stat -c %a "$model/model-00001-of-00003.safetensors") = 640 ]]
	run ! may 65534:1234 "$model/model-00001-of-00003.safetensors"
	mount_model -o allow_other "$model" "$mnt"
	run ! may 65534:1234 "$mnt/fp16/model.safetensors"
	unmount "$mnt"
	# One user may not do what all others may; the same for the directory.
	acl "$model/model-00001-of-00003.safetensors" 1:6 2:0:65534 4:4 16:4 32:4
	acl "$model" 1:7 2:0:65533 4:5 16:5 32:5
	run ! may 65534 "$model/model-00001-of-00003.safetensors"
	run ! may 65533 "$model/tokenizer.json"
	mount_model -o allow_other "$model" "$mnt"
	run ! may 65534 "$mnt/fp16/model.safetensors"
	run ! may 65533 "$mnt/fp16/tokenizer.json"
}

@test "a shard in a private directory" {
	public sub_directories
	chmod 700 "$model/layers/1"
	mount_model -o allow_other "$model" "$mnt"
	run ! may 65534 "$mnt/fp16/model.safetensors"
	may 65534 "$mnt/fp16/tokenizer.json"
}

@test "links into a private directory" {
	public plain
	mkdir "$dir/private"
	mv "$model/model.safetensors" "$model/tokenizer.json" "$dir/private"
	ln -s "$dir/private/model.safetensors" "$dir/private/tokenizer.json" "$model"
	chmod 700 "$dir/private"
	mount_model -o allow_other,follow_symlinks "$model" "$mnt"
	run ! may 65534 "$mnt/fp16/model.safetensors"
	run ! may 65534 "$mnt/fp16/tokenizer.json"
	may 65534 "$mnt/fp16/config.json"
}

@test "a user who may read by a group alone still reads their own mount" {
	need_root
	need_fuse_for_others
	public plain
	chmod -R u=rwX,g=rX,o= "$model"
	chown -R 0:2345 "$model"
	cp "$GPTQFS" "$dir/gptqfs"
	mkdir -m 777 "$mnt"
	setpriv --reuid=65534 --regid=65534 --groups=2345 "$dir/gptqfs" "$model" "$mnt" 3>&-
	setpriv --reuid=65534 --regid=65534 --groups=2345 head -c 1 "$mnt/fp16/model.safetensors" >"$BATS_TEST_TMPDIR/byte"
	setpriv --reuid=65534 --regid=65534 --groups=2345 fusermount3 -u "$mnt"
}

@test "a user who cannot unmount, for want of /etc/mtab, is told so" {
	[[ -u $(command -v fusermount3) ]] || skip "fusermount3 is not setuid"
	public plain
	chmod -R go=rX "$model"
	cp "$GPTQFS" "$dir/gptqfs"
	mkdir "$mnt" "$dir/etc"
	chown 65534:65534 "$mnt"
	cp -a /etc/. "$dir/etc"
	rm "$dir/etc/mtab"
	mknod "$dir/fuse" c 10 229
	chmod 666 "$dir/fuse"
	run -0 in_private bash -euc 'mount --bind "$1/etc" /etc
		mount --bind "$1/fuse" /dev/fuse
		nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
		$nobody "$1/gptqfs" "$2" "$3" -- true 2>&1
		$nobody ls "$3"
		ln -s /proc/self/mounts /etc/mtab
		$nobody "$1/gptqfs" -u "$3"' unmount "$dir" "$model" "$mnt" 3>&-
	[[ $output = *"without /etc/mtab fusermount3 finds no mounts"*"cannot be detached"*fp16* ]] || fail "$output"
}

# As root, without a namespace: may another user mount at all?
need_fuse_for_others() {
	[[ $(stat -c %a /dev/fuse) = 666 ]] || skip "/dev/fuse is closed to other users"
	[[ -u $(command -v fusermount3) ]] || skip "fusermount3 is not setuid"
}
