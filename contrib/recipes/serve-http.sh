#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Serves a view by nginx, with ranges, until interrupted: for curl -C -, for programs that read safetensors or GGUF files
# by ranges, and for machines that can mount nothing.
#
#   [VIEW=fp16|bf16|fp32|...] [LISTEN=127.0.0.1:8080] serve-http.sh MODEL_DIR
#
# Needs gptqfs and nginx. There is no password and no encryption: listen on a trusted network only, or on localhost behind
# ssh -L. Root's nginx serves as nobody, so the model must be readable for that user.
set -euo pipefail
if [ $# != 1 ]; then
	echo "usage: [VIEW=fp16|bf16|fp32|...] [LISTEN=127.0.0.1:8080] $0 MODEL_DIR" >&2
	exit 1
fi
model=$1
nginx=$(PATH=$PATH:/usr/sbin type -P nginx)

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

options=view=${VIEW:-fp16} user=
if [ "$(id -u)" = 0 ]; then
	chmod 711 "$tmp"
	options+=,allow_other
	user="user nobody $(id -gn nobody);"
fi
gptqfs -o "$options" "$model" "$mnt"

# A worker waits for what it reads to be computed. With threads for that, others need not wait with it.
cat >"$tmp/nginx.conf" <<EOF
$user
daemon off;
worker_processes auto;
pid $tmp/pid;
error_log stderr;
events {}
http {
	access_log off;
	default_type application/octet-stream;
	types { application/json json; }
	sendfile on;
	aio threads;
	client_body_temp_path $tmp/body;
	proxy_temp_path $tmp/proxy;
	fastcgi_temp_path $tmp/fastcgi;
	uwsgi_temp_path $tmp/uwsgi;
	scgi_temp_path $tmp/scgi;
	server {
		listen ${LISTEN:-127.0.0.1:8080};
		root $mnt;
		autoindex on;
	}
}
EOF
"$nginx" -e stderr -c "$tmp/nginx.conf" &
server=$!
wait "$server"
