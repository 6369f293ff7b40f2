#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Serves a view by NFS 4, until interrupted, with the server NFS-Ganesha, which runs in user space.
#
#   [VIEW=fp16|bf16|fp32|...] [LISTEN=127.0.0.1] [PORT=2049] serve-nfs.sh MODEL_DIR
#
# Clients: mount -t nfs4 -o ro,port=PORT HOST:/model /mnt
#
# Needs gptqfs, nfs-ganesha with its module VFS, and root, for handles of files. There is no password: every client that
# can connect can read what root can. Squash is off, or clients' root would be a user who may not read the model.
set -euo pipefail
if [ $# != 1 ]; then
	echo "usage: [VIEW=fp16|bf16|fp32|...] [LISTEN=127.0.0.1] [PORT=2049] $0 MODEL_DIR" >&2
	exit 1
fi
model=$1

tmp=$(mktemp -d)
mnt=$tmp/mnt
mkdir "$mnt"
server=
cleanup() {
	if [ -n "$server" ]; then
		kill "$server" 2>/dev/null || true
		wait "$server" || true
	fi
	if mountpoint -q "$mnt"; then fusermount3 -uz "$mnt"; fi
	rm -rf --one-file-system "$tmp"
}
trap cleanup EXIT
gptqfs -o view="${VIEW:-fp16}",allow_other "$model" "$mnt"

# Filesystem_Id: a mount of FUSE has no number that stays the same.
cat >"$tmp/ganesha.conf" <<EOF
NFS_CORE_PARAM { Bind_addr = ${LISTEN:-127.0.0.1}; NFS_Port = ${PORT:-2049}; Protocols = 4; Enable_NLM = false; Enable_RQUOTA = false; }
NFSv4 { RecoveryBackend = fs; RecoveryRoot = $tmp/recovery; Graceless = true; }
EXPORT {
	Export_Id = 1;
	Path = $mnt;
	Pseudo = /model;
	Filesystem_Id = 1.1;
	Access_Type = RO;
	Squash = None;
	SecType = sys;
	FSAL { Name = VFS; }
}
EOF
mkdir "$tmp/recovery"
ganesha.nfsd -F -f "$tmp/ganesha.conf" -L "$tmp/log" -p "$tmp/pid" &
server=$!
wait "$server" || { cat "$tmp/log" >&2; exit 5; }
