#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Mounts a view of a model that is on another machine, by sshfs: gptqfs runs there, and ends when this mount does. Here
# the kernel caches what is read, but what it forgets is computed and sent again.
#
#   [VIEW=fp16|bf16|fp32|...] sshfs.sh HOST MODEL_DIR MOUNTPOINT [SSHFS_OPTION]...
#
# Needs sshfs here, and gptqfs and OpenSSH's sftp-server on HOST, where a user's own rights are enough. SFTP_SERVER is its
# path there, if it is not Debian's. MODEL_DIR is a path on HOST. Unmount by fusermount3 -u MOUNTPOINT.
set -euo pipefail
if [ $# -lt 3 ]; then
	echo "usage: [VIEW=fp16|bf16|fp32|...] $0 HOST MODEL_DIR MOUNTPOINT [SSHFS_OPTION]..." >&2
	exit 1
fi
host=$1 model=$2 mnt=$3
shift 3
# What sshfs runs there for the subsystem sftp.
command=$(printf '%q ' gptqfs -q -o view="${VIEW:-fp16}" "$model" -- "${SFTP_SERVER:-/usr/lib/openssh/sftp-server}" -R -d)"'{}'"
# In an option of FUSE, a backslash keeps the next character.
command=${command//\\/\\\\}
exec sshfs "$host:" "$mnt" -o ro,kernel_cache -o "sftp_server=${command//,/\\,}" "$@"
