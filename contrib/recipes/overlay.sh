#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs a program that writes beside the weights: it sees a directory with the files of the view that it may change. What
# it writes goes to OUT_DIR, also when it is started again with the same one; the model is only read.
#
#   [VIEW=fp16|bf16|fp32|...] overlay.sh MODEL_DIR OUT_DIR COMMAND [ARG]...
#
# {} in ARG is the directory. Needs gptqfs; root, or else a kernel with overlayfs in user namespaces (Linux 5.11), where
# COMMAND then believes that it is root. Both mounts are in a namespace of their own, so only COMMAND sees them. OUT_DIR
# must not itself be in an overlay, as the file system of a container is, nor on NFS.
set -euo pipefail
if [ $# -lt 3 ]; then
	echo "usage: [VIEW=fp16|bf16|fp32|...] $0 MODEL_DIR OUT_DIR COMMAND [ARG]..." >&2
	exit 1
fi
if [ -z "${OVERLAY_NAMESPACE:-}" ]; then
	root=()
	[ "$(id -u)" = 0 ] || root=(--map-root-user)
	OVERLAY_NAMESPACE=1 exec unshare --mount "${root[@]}" "$0" "$@"
fi
unset OVERLAY_NAMESPACE
model=$1 out=$2
shift 2

mkdir -p "$out"
out=$(realpath "$out")
tmp=$(mktemp -d)
# overlayfs wants a directory on the same file system.
work=$(mktemp -d "$out.XXXXXX")
cleanup() {
	for mnt in "$tmp/root" "$tmp/view"; do
		if mountpoint -q "$mnt"; then umount -l "$mnt"; fi
	done
	rm -rf --one-file-system "$tmp" "$work"
}
trap cleanup EXIT
mkdir "$tmp/root" "$tmp/view"
# With uid=, files of other users can be changed too.
gptqfs -q -o view="${VIEW:-fp16}",uid="$(id -u)",gid="$(id -g)" "$model" "$tmp/view"
# In its options, paths may not have commas or colons.
ln -s "$out" "$tmp/upper"
ln -s "$work" "$tmp/work"
(cd "$tmp" && mount -t overlay -o lowerdir=view,upperdir=upper,workdir=work overlay root)

"${@//'{}'/$tmp/root}"
