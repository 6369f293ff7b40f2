#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Run by systemd.sh in the system that it has booted: prints a line for each test, and exits with 1 if one failed.
set -u
unit=gptqfs@tiny
mnt=/mnt/tiny
failed=0

until_true() {
	local end=$((SECONDS + 20))

	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.1
	done
}

is_mounted() {
	grep -q " $mnt " /proc/self/mountinfo
}

# Serves, with one mount and all of its processes.
is_served() {
	[ "$(systemctl is-active "$unit")" = active ] && [ "$(grep -c " $mnt " /proc/self/mountinfo)" = 1 ] &&
		[ "$(pgrep -c gptqfs)" = 3 ] && cmp -s "$mnt/tokenizer.json" /models/tiny/tokenizer.json
}

# is_gone [STATE]: nothing is left, and the service is inactive, or in that state.
is_gone() {
	! is_mounted && ! pgrep gptqfs >/dev/null && [ "$(systemctl is-active "$unit")" = "${1:-inactive}" ]
}

starts() {
	systemctl reset-failed "$unit" 2>/dev/null
	systemctl start "$unit" && is_served
}

restarts() {
	systemctl restart "$unit" && is_served
}

stops() {
	systemctl stop "$unit" && is_gone
}

restart_of() {
	systemctl show -p NRestarts --value "$unit"
}

# comes_back COMMAND...: kills; systemd starts another one, and never is there a mount too many.
comes_back() {
	local before

	before=$(restart_of)
	"$@" && until_true came_back "$before"
}

came_back() {
	[ "$(restart_of)" -gt "$1" ] && is_served
}

ends_by_term() {
	pkill -TERM -x gptqfs && until_true is_gone
}

# A user does not keep it forever.
stops_when_busy() {
	local rc

	exec 9<"$mnt/config.json"
	systemctl stop "$unit"
	rc=$?
	exec 9<&-
	[ "$rc" = 0 ] && until_true is_gone failed
}

is_told() {
	journalctl -q -t gptqfs | grep -q "$mnt: the server was killed by signal 9; the mount is removed" &&
		! journalctl -q | grep -E "gptqfs.*(error|denied|cannot)"
}

mounts_by_unit() {
	local mnt=/mnt/llama

	systemctl start mnt-llama.mount && is_mounted && cmp "$mnt/tokenizer.json" /models/tiny/tokenizer.json &&
		systemctl stop mnt-llama.mount && ! is_mounted && until_true not_running
}

not_running() {
	! pgrep gptqfs >/dev/null
}

check() {
	local name=$1

	shift
	if "$@"; then
		echo "ok      $name"
	else
		echo "FAILED  $name"
		systemctl status --no-pager -l "$unit" | sed 's/^/        /'
		failed=1
	fi
}

mkdir -p "/run/systemd/system/$unit.service.d"
printf '[Service]\nTimeoutStopSec=3\nRestartSec=1\n[Unit]\nStartLimitBurst=100\n' >"/run/systemd/system/$unit.service.d/test.conf"
systemctl daemon-reload
for cache in fuse auto; do
	printf 'MODEL=/models/tiny\nMOUNTPOINT=%s\nOPTIONS=-o view=bf16,allow_other,pagecache=%s\n' $mnt $cache >/etc/gptqfs/tiny.conf
	check "$cache: starts" starts
	echo "        $(findmnt -no FSTYPE,SOURCE,OPTIONS $mnt)"
	check "$cache: restarts" restarts
	check "$cache: stops" stops
	check "$cache: starts again" starts
	check "$cache: comes back when the server is killed" comes_back pkill -KILL -x gptqfs
	check "$cache: comes back when the helper is killed" comes_back pkill -KILL -x gptqfs-helper
	check "$cache: comes back when all are killed" comes_back systemctl kill -s KILL "$unit"
	check "$cache: ends by SIGTERM to the server" ends_by_term
	check "$cache: starts once more" starts
	check "$cache: stops when in use" stops_when_busy
done
check "the journal tells" is_told
check "a mount unit" mounts_by_unit
echo "        $(systemd-analyze security --no-pager "$unit" | tail -n 1)"
exit $failed
