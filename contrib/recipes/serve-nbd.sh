#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Serves a view as a network block device by nbdkit, until interrupted: a read-only disk with a FAT32 partition that has
# the files of the view, or with FILE only the bytes of that file. Nothing is copied.
#
#   [VIEW=fp16|bf16|fp32|...] [LISTEN=127.0.0.1] [PORT=10809] serve-nbd.sh MODEL_DIR [FILE]
#
# Clients: nbd-client -R HOST PORT /dev/nbd0; mount -o ro /dev/nbd0p1 /mnt
#          nbdcopy nbd://HOST:PORT FILE
#
# Needs gptqfs and nbdkit. There is no password. FAT32 has no files of 4 GiB, so the weights are in shards of 3 GiB; a
# GGUF file may be too large.
set -euo pipefail
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
	echo "usage: [VIEW=fp16|bf16|fp32|...] [LISTEN=127.0.0.1] [PORT=10809] $0 MODEL_DIR [FILE]" >&2
	exit 1
fi
model=$1

mnt=$(mktemp -d)
server=
cleanup() {
	if [ -n "$server" ]; then
		kill "$server" 2>/dev/null || true
		wait "$server" || true
	fi
	if mountpoint -q "$mnt"; then fusermount3 -uz "$mnt"; fi
	rmdir "$mnt"
}
trap cleanup EXIT
gptqfs -o view="${VIEW:-fp16}",shard=3g "$model" "$mnt"

what=(floppy dir="$mnt" label=MODEL)
[ $# = 1 ] || what=(file file="$mnt/$2")
nbdkit --foreground --readonly --ipaddr="${LISTEN:-127.0.0.1}" --port="${PORT:-10809}" "${what[@]}" &
server=$!
wait "$server"
