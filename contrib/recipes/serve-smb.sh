#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Serves a view by Samba, until interrupted, to guests: for Windows and macOS, and Linux without NFS.
#
#   [VIEW=fp16|bf16|fp32|...] [LISTEN=127.0.0.1] [PORT=445] serve-smb.sh MODEL_DIR
#
# Clients: \\HOST\model, or mount -t cifs -o ro,guest,port=PORT //HOST/model /mnt
#
# Needs gptqfs, samba, root, and a model that nobody, who serves guests, may read. There is no password.
set -euo pipefail
if [ $# != 1 ]; then
	echo "usage: [VIEW=fp16|bf16|fp32|...] [LISTEN=127.0.0.1] [PORT=445] $0 MODEL_DIR" >&2
	exit 1
fi
model=$1
smbd=$(PATH=$PATH:/usr/sbin type -P smbd)

tmp=$(mktemp -d)
mnt=$tmp/mnt
chmod 711 "$tmp"
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

mkdir "$tmp/state"
cat >"$tmp/smb.conf" <<EOF
[global]
	server role = standalone server
	map to guest = Bad User
	guest account = nobody
	interfaces = ${LISTEN:-127.0.0.1}
	bind interfaces only = yes
	smb ports = ${PORT:-445}
	private dir = $tmp/state
	lock directory = $tmp/state
	state directory = $tmp/state
	cache directory = $tmp/state
	pid directory = $tmp/state
	ncalrpc dir = $tmp/state/ncalrpc
	load printers = no
	disable spoolss = yes
	use sendfile = yes
[model]
	path = $mnt
	guest only = yes
	guest ok = yes
	read only = yes
	store dos attributes = no
	ea support = no
EOF
# In a process group of its own: it ends the group when it ends.
"$smbd" --foreground --debug-stdout --debuglevel=0 -s "$tmp/smb.conf" &
server=$!
wait "$server"
