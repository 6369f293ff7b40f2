#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Compares gptqfs with a FUSE file system that does nothing (the limit of FUSE) and with real fp16 files.
#
#     tests/bench/run.sh [SECTION...]      all of them: read readahead threads random small mmap direct cold two scale
#                                          written mount memory cp export stats families gguf lora; "kernels" too where
#                                          check_kernel is built, "pagecache" and "pagecache_choice" for root
#
# The results are ratios of interleaved runs, each on a fresh mount; a run is compared with the base's run of the same
# round. Columns: speed of the best and the median run, ratio of the best runs, median and range of the rounds' ratios,
# CPU seconds (user + system) of the server and of the reader, and the server's peak private memory. There is no pass or
# fail: a busy machine shows in the range, and in "null again", a second run of the base.
#
#     B=build              where gptqfs, bench_null and bench_reader are
#     PAIRS=7 ROUNDS=3     rounds of the main table, and of the others
#     LARGE_GB=3           size of the large fp16 view; LARGE_ARGS="--act-order" etc. goes to make_model.py
#     LIMIT_GB=1           how much of it the smaller tables read
#     FAMILIES="fp8 nf4"   rows of "families"; tests/bench/families.py has them
#     BENCH_DIR=DIR        where to put models (below ${TMPDIR:-/tmp}); KEEP=1 leaves them there for the next time
#     CP_DIR=DIR           where "cp" copies to (below ${TMPDIR:-/tmp}); /dev/shm shows it without the disk's moods
#     MODEL=DIR            the small real model
#     OTHER=GPTQFS         another build, read in turn with this one by "read"
#     PIN_MEMORY=0         leave free memory alone. In a virtual machine it is touched first, see pin_memory.c: if the host
#                          takes it back, runs differ by a factor of three, and all this measures is the host. 1: always
#     DROP_CACHES=1        empty the whole machine's page cache before each section (root)
#     VERBOSE=1            every single run, on stderr
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
B=${B:-build}
[[ $B == /* ]] || B=$top/$B
PAIRS=${PAIRS:-7}
ROUNDS=${ROUNDS:-3}
LARGE_GB=${LARGE_GB:-3}
LARGE_ARGS=${LARGE_ARGS:-}
LIMIT_GB=${LIMIT_GB:-1}
FAMILIES=${FAMILIES:-awq ct-int4 ct-int8 fp8 fp8-row mxfp4 gpt-oss nvfp4 nf4 int8 mlx4 hqq4}
KEEP=${KEEP:-}
TIMEOUT=${TIMEOUT:-300} # seconds, for one command
export LC_ALL=C

reader=$B/bench_reader
null=$B/bench_null
null_erofs=$B/bench_null_erofs
gptqfs=$B/gptqfs
pin=$B/bench_pin_memory

work=
scratch=
copy=
SERVER=
MNT=
declare -A servers=() # mountpoint -> pid
declare -A warmed=()  # files read from front to back, and not dropped since
mounts=0

# ---- processes and mounts ----

die() {
	echo "bench: $*" >&2
	exit 1
}

detach() {
	if [ "$(id -u)" = 0 ]; then umount "$@"; else fusermount3 -u "${@/-l/-z}"; fi
}

# shellcheck disable=SC2317 # called by the trap
cleanup() {
	local mnt running
	trap '' INT TERM HUP
	# The current command, samplers, servers: all processes that this shell has started and not waited for.
	mapfile -t running < <(jobs -p)
	[ ${#running[@]} = 0 ] || kill "${running[@]}" 2>/dev/null || true
	for mnt in "${!servers[@]}"; do
		detach -l "$mnt" 2>/dev/null || true
		[ -z "${servers[$mnt]}" ] || kill -9 "${servers[$mnt]}" 2>/dev/null || true
		rmdir "$mnt" 2>/dev/null || true
	done
	wait 2>/dev/null || true
	if [ -n "$work" ]; then
		# Nothing may be deleted through a remaining mount.
		[ -n "$KEEP" ] || rm -rf --one-file-system "$work"
		rm -rf --one-file-system "$scratch" "${copy:-$scratch}"
	fi
}

# Run in the background and waited for, so that signals are handled at once.
bounded() {
	local rc=0
	timeout --foreground -k 5 "$TIMEOUT" "$@" &
	wait $! || rc=$?
	[ "$rc" = 0 ] || echo "bench: status $rc from: $*" >&2
	return "$rc"
}

# The process that answers requests: gptqfs mounts by another one.
serving() {
	local child
	if [ "$(cat "/proc/$1/comm")" = gptqfs-helper ]; then
		read -r child _ <"/proc/$1/task/$1/children"
		echo "$child"
	else
		echo "$1"
	fi
}

# Starts `"$@" MOUNTPOINT ARGUMENT...` (arguments after --) in the foreground of a job; sets MNT and SERVER.
serve() {
	local before=() i
	while [ "$1" != -- ]; do
		before+=("$1")
		shift
	done
	shift
	MNT=$scratch/mnt$((++mounts))
	mkdir -p "$MNT"
	servers[$MNT]=
	"${before[@]}" "$MNT" "$@" >"$scratch/log" 2>&1 &
	SERVER=$!
	servers[$MNT]=$SERVER
	for ((i = 0; i < 6000; i++)); do
		if mountpoint -q "$MNT"; then
			# Readahead is set shortly after the first response.
			sleep 0.02
			SERVER=$(serving "$SERVER")
			return
		fi
		kill -0 "$SERVER" 2>/dev/null || die "$(cat "$scratch/log")"
		sleep 0.01
	done
	die "no mount after a minute: ${before[*]}"
}

# serve_gptqfs MODEL "OPTIONS"
serve_gptqfs() {
	# shellcheck disable=SC2086 # options are words
	serve "$gptqfs" -f $2 "$1" --
}

# serve_null "OPTIONS" SIZE...
serve_null() {
	# shellcheck disable=SC2086
	serve "$null" -f $1 -- "${@:2}"
}

# serve_erofs "OPTIONS" SIZE...
serve_erofs() {
	# shellcheck disable=SC2086
	serve "$null_erofs" -f $1 -- "${@:2}"
}

unserve() {
	local mnt=$1 pid=${servers[$1]} i
	detach "$mnt" || detach -l "$mnt" || true
	for ((i = 0; i < 1000; i++)); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.01
	done
	kill -9 "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	unset "servers[$mnt]"
	rmdir "$mnt"
}

# view_size MODEL FILE: sets SIZE to that of a file of its mount.
view_size() {
	serve_gptqfs "$1" ""
	SIZE=$(size_of "$MNT/$2")
	unserve "$MNT"
}

# Drops files from the page cache, except pages mapped by a server.
drop() {
	local i
	for i in "$@"; do unset "warmed[$i]"; done
	bounded "$reader" -m resident -d "$@" >"$scratch/out"
}

# Reads files into the page cache, like any reader. The size of folios depends on what was cached before and how it was
# read, and a file in single pages takes twice as long to map and copy.
warm() {
	local i
	for i in "$@"; do
		[ -n "${warmed[$i]:-}" ] || drop "$i"
		bounded "$reader" "$i" >"$scratch/out"
		warmed[$i]=1
	done
}

# True if no cgroup limits this process's memory: of version 2, where a parent may, or of version 1.
is_memory_ours() {
	local group at=/sys/fs/cgroup/memory
	group=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
	if [ -n "$group" ]; then
		[ -r "$at$group/memory.limit_in_bytes" ] || group=
		[ "$(cat "$at$group/memory.limit_in_bytes" 2>/dev/null || echo 0)" -gt $((1 << 50)) ]
		return
	fi
	group=$(sed -n 's/^0:://p' /proc/self/cgroup)
	while [ -n "${group%/}" ]; do
		[ "$(cat "/sys/fs/cgroup$group/memory.max" 2>/dev/null || echo max)" = max ] || return 1
		group=${group%/*}
	done
}

may_pin_memory() {
	case ${PIN_MEMORY:-} in
	'') grep -qw hypervisor /proc/cpuinfo && is_memory_ours ;;
	0) return 1 ;;
	esac
}

pin_memory() {
	"$pin" >"$scratch/pinned" &
	while [ ! -s "$scratch/pinned" ]; do
		kill -0 $! 2>/dev/null || die "memory could not be pinned; PIN_MEMORY=0 does without"
		sleep 0.1
	done
	echo "memory:  all that was free is at hand ($(cat "$scratch/pinned"))"
}

# MiB of the files in the page cache.
resident() {
	bounded "$reader" -m resident "$@" >"$scratch/out"
	awk '{printf "%.0f", $2 / 1048576}' "$scratch/out"
}

size_of() {
	stat -L -c %s "$1"
}

cpu_of() {
	awk -v hz="$(getconf CLK_TCK)" '{print ($14 + $15) / hz}' "/proc/$1/stat"
}

# ---- tables ----
#
# A case is one line: LABEL | KIND | WHERE | FILES | SOURCE | MOUNT OPTIONS | READER OPTIONS
#     gptqfs   WHERE is the model, FILES are read, below the mount
#     null     FILES are sizes
#     erofs    FILES are sizes, of a server that does nothing but by EROFS
#     file     FILES are read
# SOURCE is the state of the page cache at the start: warm, cold, seen (read once through the mount, then the mount's
# own pages dropped: for sources that do not fit), or left, as it is.

cases=()

add() {
	local IFS='|'
	cases+=("$*")
}

run_case() {
	local kind=$1 where=$2 source=$4 mount_options=$5 reader_options=$6 paths=() files i first=1
	read -r -a files <<<"$3"
	case $kind in
	file) paths=("${files[@]}") ;;
	gptqfs | other) paths=("$where"/*.safetensors) ;;
	esac
	if [ "$kind" != null ] && [ "$kind" != erofs ]; then
		case $source in
		warm) warm "${paths[@]}" ;;
		cold) drop "${paths[@]}" ;;
		esac
	fi
	SERVER=0
	case $kind in
	gptqfs | other)
		gptqfs=$([ "$kind" = other ] && echo "$OTHER" || echo "$gptqfs") serve_gptqfs "$where" "$mount_options"
		paths=("${files[@]/#/$MNT/}")
		;;
	null | erofs)
		"serve_$kind" "$mount_options" "${files[@]}"
		paths=()
		for i in "${!files[@]}"; do paths+=("$MNT/f$i"); done
		;;
	esac
	[ "$source" = seen ] || first=
	# shellcheck disable=SC2086 # options are words
	[ -z "$first" ] || bounded "$reader" $reader_options "${paths[@]}" >"$scratch/out"
	# shellcheck disable=SC2086
	bounded "$reader" -s 5 -p "$SERVER" ${first:+-d} $reader_options "${paths[@]}" >"$scratch/out"
	[ "$kind" = file ] || unserve "$MNT"
}

# run_cases ROUNDS: leaves lines "ROUND CASE numbers" in $scratch/results.
run_cases() {
	local rounds=$1 r k i fields
	: >"$scratch/results"
	for ((r = 0; r < rounds; r++)); do
		for ((k = 0; k < ${#cases[@]}; k++)); do
			i=$(((r + k) % ${#cases[@]}))
			IFS='|' read -r -a fields <<<"${cases[i]}|"
			run_case "${fields[@]:1}"
			echo "$r $i $(cat "$scratch/out")" >>"$scratch/results"
			[ -z "${VERBOSE:-}" ] || echo "# $r ${fields[0]}: $(cat "$scratch/out")" >&2
		done
	done
}

labels() {
	printf '%s\n' "${cases[@]%%|*}"
}

# shellcheck disable=SC2016 # $1 is awk's
awk_common='
function sort(a, n,   i, j, x) {
	for (i = 2; i <= n; i++) {
		x = a[i]
		for (j = i - 1; j > 0 && a[j] > x; j--)
			a[j + 1] = a[j]
		a[j + 1] = x
	}
}
function median(a, n) {
	sort(a, n)
	return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
}
function over(x, y) {
	return y > 0 ? sprintf("%.2f", x / y) : "-"
}
FILENAME == ARGV[1] { label[cases++] = $0; next }
{
	rounds = $1 + 1
	value[$2, $1, "time"] = $4 ? $3 / $4 * 1e9 : 0
	value[$2, $1, "cpu"] = $4 ? $5 / $4 * 1e9 : 0
	value[$2, $1, "own"] = $4 ? $6 / $4 * 1e9 : 0
	value[$2, $1, "median"] = $8
	value[$2, $1, "p99"] = $9
	bytes[$2] = $4
	if ($7 > peak[$2])
		peak[$2] = $7
}
function collect(c, what,   r) {
	for (r = 0; r < rounds; r++)
		list[r + 1] = value[c, r, what]
	return median(list, rounds)
}
function ratios(c, b, what, sense,   r, x, y) {
	for (r = 0; r < rounds; r++) {
		x = value[b, r, what]
		y = value[c, r, what]
		ratio[r + 1] = sense > 0 ? x / (y ? y : 1e-9) : y / (x ? x : 1e-9)
	}
	return median(ratio, rounds)
}'

# speeds TITLE ROUNDS [BASE]: runs the cases and prints speeds; ratios above 1 are faster than case number BASE.
speeds() {
	local title=$1 base=${3:-0}
	run_cases "$2"
	echo
	echo "$title ($2 rounds)"
	labels >"$scratch/labels"
	awk -v base="$base" "$awk_common"'
	END {
		printf "  %-34s %7s %7s  %6s %6s %-12s %7s %6s %7s %8s\n", "", "GB/s", "GB/s", "ratio", "ratio", "", "CPU s", "CPU", "reader", "private"
		printf "  %-34s %7s %7s  %6s %6s %-12s %7s %6s %7s %8s\n", "", "best", "median", "best", "median", "(range)", "per GB", "ratio", "s/GB", "MiB"
		collect(base, "time")
		fastest = list[1]
		base_cpu = collect(base, "cpu")
		for (c = 0; c < cases; c++) {
			t = collect(c, "time")
			best = list[1]
			m = ratios(c, base, "time", 1)
			printf "  %-34s %7.2f %7.2f  %6s %6.2f %-12s %7s %6s %7.3f %8s\n", label[c], 1 / best, 1 / t, over(fastest, best), m,
			    sprintf("(%.2f-%.2f)", ratio[1], ratio[rounds]), peak[c] ? sprintf("%.3f", collect(c, "cpu")) : "-",
			    peak[c] ? over(collect(c, "cpu"), base_cpu) : "-", collect(c, "own"),
			    peak[c] ? sprintf("%.1f", peak[c] / 1024) : "-"
		}
	}' "$scratch/labels" "$scratch/results"
	cases=()
}

# latencies TITLE ROUNDS [BASE]: ratios above 1 are slower than the base.
latencies() {
	local title=$1 base=${3:-0}
	run_cases "$2"
	echo
	echo "$title ($2 rounds)"
	labels >"$scratch/labels"
	awk -v base="$base" "$awk_common"'
	END {
		printf "  %-34s %9s %9s %9s  %7s %-13s %7s %9s %8s\n", "", "us", "us", "us", "ratio", "", "ratio", "server us", "private"
		printf "  %-34s %9s %9s %9s  %7s %-13s %7s %9s %8s\n", "", "median", "p99", "mean", "median", "(range)", "mean", "CPU each", "MiB"
		for (c = 0; c < cases; c++) {
			m = collect(c, "median")
			p = collect(c, "p99")
			mean = collect(c, "time") * 4096 / 1e3
			q = ratios(c, base, "time", -1)
			x = ratios(c, base, "median", -1)
			printf "  %-34s %9.1f %9.1f %9.1f  %7.2f %-13s %7.2f %9s %8s\n", label[c], m, p, mean, x,
			    sprintf("(%.2f-%.2f)", ratio[1], ratio[rounds]), q,
			    peak[c] ? sprintf("%.1f", collect(c, "cpu") * 4096 / 1e3) : "-", peak[c] ? sprintf("%.1f", peak[c] / 1024) : "-"
		}
	}' "$scratch/labels" "$scratch/results"
	cases=()
}

# ---- models, made when first needed ----

# model NAME ARGUMENT...: sets DIR
model() {
	DIR=$work/$1
	[ -e "$DIR/config.json" ] || bounded "$here/make_model.py" "${@:2}" "$DIR" >/dev/null
}

# The real fp16 file of a view is a copy of what gptqfs shows. dense NAME MODEL: sets DENSE and SIZE.
dense() {
	DENSE=$work/$1.safetensors
	if [ ! -e "$DENSE" ]; then
		serve_gptqfs "$2" ""
		bounded cp "$MNT/fp16/model.safetensors" "$DENSE.part"
		unserve "$MNT"
		sync -d "$DENSE.part"
		mv "$DENSE.part" "$DENSE"
	fi
	SIZE=$(size_of "$DENSE")
}

small() {
	if [ -e "$MODEL/model.safetensors" ]; then
		SMALL=$MODEL
		SMALL_NAME=$(basename "$MODEL")
	else
		model small llama --hidden 576 --inter 1536 --kv 192 --vocab 49152 --layers 30 --group 64
		SMALL=$DIR
		SMALL_NAME="generated, of the shape of SmolLM2-135M"
	fi
	dense small-fp16 "$SMALL"
}

large() {
	# shellcheck disable=SC2086 # options are words
	model large llama --view-gb "$LARGE_GB" $LARGE_ARGS
	LARGE=$DIR
	[ "${1:-}" = source ] || dense large-fp16 "$LARGE"
}

F=fp16/model.safetensors
gb() {
	awk -v n="$1" 'BEGIN {printf "%.2f GB", n / 1e9}'
}

# ---- sections ----

# True if -o pagecache=erofs works here.
can_erofs() {
	[ "$(id -u)" = 0 ] && "$gptqfs" -q -o pagecache=erofs "$1" -- true >/dev/null 2>&1
}

first_read() {
	local title=$1 model=$2 rounds=$3
	add "null: does nothing" null - "$SIZE" warm "$R" ""
	add "null again" null - "$SIZE" warm "$R" ""
	add "gptqfs" gptqfs "$model" $F warm "$G" ""
	! can_erofs "$model" || add "gptqfs, pagecache=erofs" gptqfs "$model" $F warm "$G -o pagecache=erofs" ""
	[ -z "${OTHER:-}" ] || add "gptqfs, the other build" other "$model" $F warm "$G" ""
	add "real fp16 file, from disk" file - "$DENSE" cold "" ""
	speeds "first sequential read, $title, $(gb "$SIZE")" "$rounds"
	add "real fp16 file, in memory" file - "$DENSE" warm "" "-w"
	add "gptqfs, read before" gptqfs "$model" $F warm "$G" "-w"
	add "null, read before" null - "$SIZE" warm "$R" "-w"
	speeds "read again, $title, $(gb "$SIZE")" "$ROUNDS"
}

bench_read() {
	small
	first_read "$SMALL_NAME" "$SMALL" $((PAIRS > 10 ? PAIRS : 10))
	large
	first_read "Llama-2-7B's shape" "$LARGE" "$PAIRS"
}

# family_row LABEL DIR GPTQ: the first read of the bf16 view beside do-nothing and beside GPTQ, in turn, and by EROFS.
family_row() {
	local view=bf16/model.safetensors size
	serve_gptqfs "$2" ""
	size=$(size_of "$MNT/$view")
	unserve "$MNT"
	add "$1" gptqfs "$2" "$view" warm "$G" ""
	add "null" null - "$size" warm "$R" ""
	add "GPTQ" gptqfs "$3" "$view" warm "$G" ""
	! can_erofs "$2" || add "EROFS" gptqfs "$2" "$view" warm "$G -o pagecache=erofs" ""
	run_cases "$PAIRS"
	labels >"$scratch/labels"
	awk "$awk_common"'
	END {
		t = collect(0, "time")
		cpu = collect(0, "cpu")
		m = ratios(0, 1, "time", 1)
		range = sprintf("(%.2f-%.2f)", ratio[1], ratio[rounds])
		printf "  %-10s %7.2f  %6.2f %-12s %6.2f  %7.3f %6.2f %8.1f", label[0], 1 / t, m, range, ratios(0, 2, "time", 1), cpu,
		    over(cpu, collect(2, "cpu")), peak[0] / 1024
		if (cases > 3) {
			t = collect(3, "time")
			m = ratios(3, 1, "time", 1)
			range = sprintf("(%.2f-%.2f)", ratio[1], ratio[rounds])
			printf "  %7.2f  %6.2f %-12s %6.2f", 1 / t, m, range, ratios(3, 0, "time", 1)
		}
		print ""
	}' "$scratch/labels" "$scratch/results"
	cases=()
}

# Of a small vocabulary: that is copied, not computed.
bench_families() {
	local name base
	model vocab-1024 llama --view-gb "$LARGE_GB" --vocab 1024
	base=$DIR
	echo
	echo "families: first sequential read of the bf16 view, Llama-2-7B's shape, about $LARGE_GB GB ($PAIRS rounds each)"
	printf '  %-10s %7s  %6s %-12s %6s  %7s %6s %8s  %s\n' "" GB/s "beside" "" "beside" "CPU s" "beside" private \
		"pagecache=erofs, beside null and FUSE"
	printf '  %-10s %7s  %6s %-12s %6s  %7s %6s %8s\n' "" median "null" "(range)" "GPTQ" "per GB" "GPTQ" MiB
	family_row GPTQ "$base" "$base"
	for name in $FAMILIES; do
		if [ "$name" = gpt-oss ]; then
			model gpt-oss gpt-oss --view-gb "$LARGE_GB" --vocab 1024
		else
			model "$name" llama --view-gb "$LARGE_GB" --vocab 1024 --family "$name"
		fi
		family_row "$name" "$DIR" "$base"
		[ -n "$KEEP" ] || rm -rf "$DIR"
	done
}

# The GGUF file beside do-nothing, and as many bytes of dense views. Of a small vocabulary: that is copied, not made.
bench_gguf() {
	local file=gguf/vocab-1024.gguf
	model vocab-1024 llama --view-gb "$LARGE_GB" --vocab 1024
	view_size "$DIR" $file
	add "null: does nothing" null - "$SIZE" warm "$R" ""
	add "null again" null - "$SIZE" warm "$R" ""
	add "gguf" gptqfs "$DIR" "$file" warm "$G" ""
	[ -z "${OTHER:-}" ] || add "gguf, the other build" other "$DIR" "$file" warm "$G" ""
	add "fp16" gptqfs "$DIR" $F warm "$G" "-l $SIZE"
	add "bf16" gptqfs "$DIR" bf16/model.safetensors warm "$G" "-l $SIZE"
	speeds "GGUF: first sequential read, Llama-2-7B's shape, $(gb "$SIZE")" "$PAIRS"
	[ -n "$KEEP" ] || rm -rf "$DIR"
}

# An adapter on every matrix, beside the model without it, and what the mount of it takes.
bench_lora() {
	local rank start end
	large source
	view_size "$LARGE" $F
	add "null: does nothing" null - "$SIZE" warm "$R" "-l $LIMIT"
	add "gptqfs, no adapter" gptqfs "$LARGE" $F warm "$G" "-l $LIMIT"
	for rank in 8 16 64; do
		rm -rf "$work/adapter-$rank"
		python3 -S "$here/make_adapter.py" "$LARGE" $rank "$work/adapter-$rank"
		add "lora=, rank $rank" gptqfs "$LARGE" $F warm "$G -o lora=$work/adapter-$rank" "-l $LIMIT"
	done
	add "lora=, rank 16, 2 readers" gptqfs "$LARGE" $F warm "$G -o lora=$work/adapter-16" "-t 2 -l $LIMIT"
	speeds "LoRA: first sequential read of $(gb "$LIMIT") of fp16; base: null" "$ROUNDS"
	for rank in 0 64; do
		start=$(date +%s%N)
		serve_gptqfs "$LARGE" "$([ $rank = 0 ] || echo "-o lora=$work/adapter-$rank")"
		end=$(date +%s%N)
		unserve "$MNT"
		awk -v ms=$(((end - start) / 1000000)) -v rank=$rank -v size="$([ $rank = 0 ] || size_of "$work/adapter-$rank/adapter_model.safetensors")" \
			'BEGIN { printf "  mount with rank %d, %.2f GB of adapter: %d ms\n", rank, size / 1e9, ms }'
	done
	echo "  (PEFT's merge_and_unload takes 0.03 GB of fp16 a second, and the model in memory)"
	rm -rf "$work"/adapter-*
}

bench_readahead() {
	local k
	large
	for k in 128 1024 4096; do
		add "null      $k KiB" null - "$SIZE" warm "-r $k" "-l $LIMIT"
		add "gptqfs    $k KiB" gptqfs "$LARGE" $F warm "-o readahead=$k" "-l $LIMIT"
	done
	speeds "readahead: first sequential read of $(gb "$LIMIT"); base: null at 128 KiB" "$ROUNDS"
	for k in 128 1024 4096; do
		add "null      $k KiB" null - "$SIZE" warm "-r $k" "-m touch -n 200"
		add "gptqfs    $k KiB" gptqfs "$LARGE" $F warm "-o readahead=$k" "-m touch -n 200"
	done
	latencies "readahead: 200 touches at random places of a mapping; base: null at 128 KiB" "$ROUNDS"
}

bench_threads() {
	local k n
	large
	for k in 128 1024; do
		add "null" null - "$SIZE" warm "-r $k" "-l $LIMIT"
		for n in 1 2 4; do
			add "gptqfs, reader_threads=$n" gptqfs "$LARGE" $F warm "-o readahead=$k,reader_threads=$n" "-l $LIMIT"
		done
		speeds "threads: first sequential read of $(gb "$LIMIT") at a readahead of $k KiB" "$ROUNDS"
	done
}

bench_random() {
	local how="-m random -n 20000"
	large
	add "null" null - "$SIZE" warm "$R" "$how"
	add "null again" null - "$SIZE" warm "$R" "$how"
	add "gptqfs" gptqfs "$LARGE" $F warm "$G" "$how"
	add "gptqfs, source on disk" gptqfs "$LARGE" $F cold "$G" "$how"
	add "real fp16 file, from disk" file - "$DENSE" cold "" "$how"
	latencies "random: 20000 preads of 4 KiB" "$ROUNDS"
	add "null" null - "$SIZE" warm "$R" "-m random -n 1000"
	add "gptqfs" gptqfs "$LARGE" $F warm "$G" "-m random -n 1000"
	latencies "random: the first 1000 preads, while the source is being mapped" "$ROUNDS"
	add "null" null - "$SIZE" warm "$R" "-m random -n 5000 -t 4"
	add "gptqfs" gptqfs "$LARGE" $F warm "$G" "-m random -n 5000 -t 4"
	latencies "random: 4 threads of 5000 preads each" "$ROUNDS"
}

bench_small() {
	local b
	large
	for b in 1048576 131072 4096; do
		add "null      $((b / 1024)) KiB blocks" null - "$SIZE" warm "$R" "-l $LIMIT -b $b"
		add "gptqfs    $((b / 1024)) KiB blocks" gptqfs "$LARGE" $F warm "$G" "-l $LIMIT -b $b"
	done
	speeds "small: sequential read of $(gb "$LIMIT") by block size; base: null with 1 MiB" "$ROUNDS"
}

bench_mmap() {
	local t
	large
	for t in 1 4; do
		add "real fp16 file, from disk" file - "$DENSE" cold "" "-m mmap -t $t -l $LIMIT"
		add "null" null - "$SIZE" warm "$R" "-m mmap -t $t -l $LIMIT"
		add "gptqfs, source in memory" gptqfs "$LARGE" $F warm "$G" "-m mmap -t $t -l $LIMIT"
		add "gptqfs, source on disk" gptqfs "$LARGE" $F cold "$G" "-m mmap -t $t -l $LIMIT"
		speeds "mmap: $(gb "$LIMIT") touched in order by $t thread(s), each in a part of its own" "$ROUNDS"
	done
	add "real fp16 file" file - "$DENSE" warm "" "-m mmap -l $LIMIT -w"
	add "null" null - "$SIZE" warm "$R" "-m mmap -l $LIMIT -w"
	add "gptqfs" gptqfs "$LARGE" $F warm "$G" "-m mmap -l $LIMIT -w"
	speeds "mmap: $(gb "$LIMIT") touched a second time" "$ROUNDS"
}

bench_direct() {
	large
	add "null" null - "$SIZE" warm "$R" "-m direct -l $LIMIT"
	add "null again" null - "$SIZE" warm "$R" "-m direct -l $LIMIT"
	add "gptqfs" gptqfs "$LARGE" $F warm "$G" "-m direct -l $LIMIT"
	speeds "direct: O_DIRECT, $(gb "$LIMIT")" "$ROUNDS"
	add "null" null - "$SIZE" warm "-d $R" "-l $LIMIT"
	add "null again" null - "$SIZE" warm "-d $R" "-l $LIMIT"
	add "gptqfs" gptqfs "$LARGE" $F warm "-o direct_io $G" "-l $LIMIT"
	speeds "direct: mounted with direct_io, $(gb "$LIMIT")" "$ROUNDS"
}

bench_cold() {
	large
	add "real fp16 file, from disk" file - "$DENSE" cold "" ""
	add "null" null - "$SIZE" warm "$R" ""
	add "gptqfs, source on disk" gptqfs "$LARGE" $F cold "$G" ""
	add "gptqfs, source in memory" gptqfs "$LARGE" $F warm "$G" ""
	speeds "cold: first sequential read with the source out of the page cache, $(gb "$SIZE")" "$ROUNDS"
}

bench_two() {
	large
	add "null, one reader" null - "$SIZE" warm "$R" "-l $LIMIT"
	add "null, two readers of two files" null - "$SIZE $SIZE" warm "$R" "-l $LIMIT"
	add "gptqfs, one reader" gptqfs "$LARGE" $F warm "$G" "-l $LIMIT"
	add "gptqfs, two readers of two files" gptqfs "$LARGE" "$F bf16/model.safetensors" warm "$G" "-l $LIMIT"
	speeds "two: $(gb "$LIMIT") each; base: null, one reader" "$ROUNDS"
}

# Copies that were written, and never read: the page cache holds them in folios as large as the writes. Before Linux
# 6.16 ext4 has only the smallest.
bench_written() {
	local how name size file to
	large source
	view_size "$LARGE" $F
	for size in 4k 64k; do
		to=$work/written-$size
		rm -rf "$to"
		mkdir "$to"
		cp "$LARGE"/*.json "$to"
		for file in "$LARGE"/*.safetensors; do
			bounded dd if="$file" of="$to/${file##*/}" bs=$size status=none
			sync -d "$to/${file##*/}"
		done
	done
	for how in "" "-m direct"; do
		name=${how:+, O_DIRECT}
		add "null" null - "$SIZE" warm "$R" "$how -l $LIMIT"
		add "null again" null - "$SIZE" warm "$R" "$how -l $LIMIT"
		add "gptqfs, source read" gptqfs "$LARGE" $F warm "$G" "$how -l $LIMIT"
		add "gptqfs, written in 64 KiB" gptqfs "$work/written-64k" $F left "$G" "$how -l $LIMIT"
		add "gptqfs, written in 4 KiB" gptqfs "$work/written-4k" $F left "$G" "$how -l $LIMIT"
		speeds "written: first sequential read of $(gb "$LIMIT")$name, by how the source came into memory" "$PAIRS"
	done
	rm -r "$work"/written-*
}

# The first, middle and last weights of a view.
shards_of() {
	local all
	serve_gptqfs "$1" ""
	all=("$MNT"/fp16/*.safetensors)
	all=("${all[@]##*/}")
	unserve "$MNT"
	FIRST=fp16/${all[0]}
	LAST=fp16/${all[${#all[@]} > 1 ? ${#all[@]} - 2 : 0]}
}

bench_scale() {
	local n window=900000000
	add "null" null - 1000000000 warm "$R" "-l $window"
	for n in 1 10 100; do
		model "sparse-$n" llama --view-gb $n --sparse
		shards_of "$DIR"
		add "view of $n GB, its beginning" gptqfs "$DIR" "$FIRST" seen "$G" "-l $window"
		[ "$FIRST" = "$LAST" ] || add "view of $n GB, near its end" gptqfs "$DIR" "$LAST" seen "$G" "-l $window"
	done
	speeds "scale: $(gb $window) out of views of growing size (sparse source); base: the 1 GB view" "$ROUNDS" 1
	for DIR in "$work"/sparse-{1,10,100}; do drop_model; done
	add "null" null - 1000000000 warm "$R" "-l $window"
	for n in 10 100 1000 10000; do
		model "flat-$n" flat --tensors $n --sparse
		add "$n tensors" gptqfs "$DIR" $F seen "$G" "-l $window"
	done
	speeds "scale: a view of 1 GB of ever more tensors, rows of 1024 (sparse source); base: 10 tensors" "$ROUNDS" 1
	for DIR in "$work"/flat-*; do drop_model; done
}

seconds_now() {
	echo "$EPOCHREALTIME"
}

# mount_times LABEL DIR ROUNDS SOURCE: in the background, as users mount.
mount_times() {
	local label=$1 dir=$2 rounds=$3 source=$4 mnt=$scratch/mounted r start end files=("$2"/*.safetensors) in
	mkdir -p "$mnt"
	: >"$scratch/times"
	for ((r = 0; r < rounds; r++)); do
		[ "$source" != cold ] || drop "${files[@]}"
		servers[$mnt]=
		start=$(seconds_now)
		bounded "$gptqfs" "$dir" "$mnt" >"$scratch/log" 2>&1 || die "$(cat "$scratch/log")"
		end=$(seconds_now)
		awk -v a="$start" -v b="$end" 'BEGIN {print b - a}' >>"$scratch/times"
		in=$(resident "${files[@]}")
		detach "$mnt"
		unset "servers[$mnt]"
		# The daemon exits on its own, which must not disturb the next measurement.
		sleep 0.2
	done
	serve_gptqfs "$dir" ""
	bounded "$reader" -m memory -p "$SERVER" >"$scratch/out"
	unserve "$MNT"
	sort -n "$scratch/times" | awk -v label="$label" -v out="$(cat "$scratch/out")" -v in_cache="$in" '
		{t[NR] = $1}
		END {
			split(out, o, " ")
			printf "  %-46s %8.3f %8.3f %10.1f %12s\n", label, t[1], t[int((NR + 1) / 2)], o[5] / 1024, in_cache
		}'
}

bench_mount() {
	small
	echo
	echo "mount: seconds until the mount is usable ($ROUNDS rounds)"
	printf '  %-46s %8s %8s %10s %12s\n' "" "best" "median" "private" "source MiB"
	printf '  %-46s %8s %8s %10s %12s\n' "" "s" "s" "MiB" "in memory"
	mount_times "$SMALL_NAME" "$SMALL" "$ROUNDS" cold
	model sparse-70b llama --layers 80 --hidden 8192 --inter 28672 --kv 1024 --sparse
	mount_times "70B, 80 layers, first time (cold)" "$DIR" "$ROUNDS" cold
	mount_times "70B, 80 layers" "$DIR" "$ROUNDS" again
	drop_model
	model sparse-moe moe --tensors 100000
	mount_times "MoE of 100,000 tensors, first time (cold)" "$DIR" "$ROUNDS" cold
	mount_times "MoE of 100,000 tensors" "$DIR" "$ROUNDS" again
	drop_model
	model sparse-deepseek deepseek
	mount_times "DeepSeek-V3 in FP8, first time (cold)" "$DIR" "$ROUNDS" cold
	mount_times "DeepSeek-V3 in FP8" "$DIR" "$ROUNDS" again
	drop_model
}

# The exact peak while streaming; measuring it slows the run, so there are no times.
private_peak() {
	local label=$1 options=$2 how=$3 files=("$LARGE"/*.safetensors) in
	warm "${files[@]}"
	serve_gptqfs "$LARGE" "$options"
	# shellcheck disable=SC2086 # options are words
	bounded "$reader" -x -s 20 -p "$SERVER" $how "$MNT/$F" >"$scratch/out"
	read -r _ _ _ _ peak _ <"$scratch/out"
	bounded sleep 11
	bounded "$reader" -m memory -p "$SERVER" >"$scratch/out"
	read -r _ _ _ _ after _ <"$scratch/out"
	in=$(resident "${files[@]}")
	unserve "$MNT"
	awk -v label="$label" -v p="$peak" -v a="$after" -v in_cache="$in" -v s="$(size_of "${files[0]}")" \
		'BEGIN {printf "  %-46s %10.1f %10.1f %12s of %.0f\n", label, p / 1024, a / 1024, in_cache, s / 1048576}'
}

bench_memory() {
	local w c workloads names i
	large source
	echo
	echo "memory: private memory of the server (Private_Clean + Private_Dirty without the mapped source)"
	printf '  %-46s %10s %10s %12s\n' "" "peak MiB" "after 10 s" "source MiB in memory"
	private_peak "stream" "" ""
	for c in 0 8m 128m; do private_peak "stream, cache=$c" "-o cache=$c" "-l $LIMIT"; done
	private_peak "stream, 4 KiB blocks" "" "-b 4096 -l $LIMIT"
	private_peak "stream, O_DIRECT" "" "-m direct -l $LIMIT"
	private_peak "mmap, 4 threads" "" "-m mmap -t 4 -l $LIMIT"
	private_peak "random preads, 8 threads" "" "-m random -t 8"
	names=("sequential" "sequential, O_DIRECT, 64 KiB" "mmap, 4 threads" "random preads of 4 KiB" "random touches")
	workloads=("-l $LIMIT" "-m direct -b 65536 -l $((LIMIT / 4))" "-m mmap -t 4 -l $LIMIT" "-m random -n 4000" "-m touch -n 200")
	for i in "${!workloads[@]}"; do
		w=${workloads[i]}
		for c in 0 32m 128m; do
			add "cache=$c" gptqfs "$LARGE" $F warm "$G -o cache=$c" "$w"
		done
		speeds "memory: what the second-level cache costs or saves: ${names[i]}; base: cache=0" "$ROUNDS"
	done
}

# cp_once FROM ROUND CASE
cp_once() {
	local from=$1 start end before peak watcher
	before=$(cpu_of "$SERVER")
	"$reader" -m memory -s 5 -p "$SERVER" >"$scratch/watch" &
	watcher=$!
	start=$(seconds_now)
	bounded cp -r "$from" "$copy"
	end=$(seconds_now)
	kill "$watcher"
	wait "$watcher" || true
	read -r _ _ _ _ peak _ <"$scratch/watch"
	awk -v r="$2" -v c="$3" -v a="$start" -v b="$end" -v x="$before" -v y="$(cpu_of "$SERVER")" -v p="$peak" \
		-v n="$(du -sb "$copy" | cut -f 1)" 'BEGIN {print r, c, b - a, n, y - x, 0, p, 0, 0}' >>"$scratch/results"
	unserve "$MNT"
	# Deleted before it reaches the disk, so that writeback does not disturb the next run.
	rm -rf "$copy"
}

# cp_table TITLE MODEL ROUNDS
cp_table() {
	local r k sizes
	warm "$2"/*.safetensors
	serve_gptqfs "$2" ""
	mapfile -t sizes < <(stat -c %s "$MNT"/fp16/*)
	unserve "$MNT"
	: >"$scratch/results"
	for ((r = 0; r < $3; r++)); do
		for ((k = 0; k < 2; k++)); do
			if [ $(((r + k) % 2)) = 0 ]; then
				serve_null "$R" "${sizes[@]}"
				cp_once "$MNT" "$r" 0
			else
				warm "$2"/*.safetensors
				serve_gptqfs "$2" "$G"
				cp_once "$MNT/fp16" "$r" 1
			fi
		done
	done
	cases=("null" "gptqfs")
	labels >"$scratch/labels"
	cases=()
	echo
	echo "cp -r of $1 ($3 rounds)"
	awk "$awk_common"'
	END {
		printf "  %-34s %7s %7s  %6s %-12s %7s %8s\n", "", "GB/s", "GB/s", "ratio", "", "CPU s", "private"
		printf "  %-34s %7s %7s  %6s %-12s %7s %8s\n", "", "best", "median", "median", "(range)", "per GB", "MiB"
		for (c = 0; c < cases; c++) {
			t = collect(c, "time")
			best = list[1]
			m = ratios(c, 0, "time", 1)
			printf "  %-34s %7.2f %7.2f  %6.2f %-12s %7.3f %8.1f\n", label[c], 1 / best, 1 / t, m,
			    sprintf("(%.2f-%.2f)", ratio[1], ratio[rounds]), collect(c, "cpu"), peak[c] / 1024
		}
	}' "$scratch/labels" "$scratch/results"
}

bench_cp() {
	small
	cp_table "a whole view, $SMALL_NAME" "$SMALL" "$ROUNDS"
	# Makes room for the copy; the real file is recreated if a later section needs it.
	[ -n "$KEEP" ] || rm -f "$work/large-fp16.safetensors"
	large source
	cp_table "a whole view, Llama-2-7B's shape" "$LARGE" $((ROUNDS > 2 ? 2 : ROUNDS))
	echo "  for comparison: GPTQModel's dequantize_model makes 0.083 GB/s with a peak of 2.9 GB (measured before, 3.8 GB model)"
}

# export_once KIND ROUND CASE: everything ends on the disk. OPTIONS are export's.
export_once() {
	local start end watcher='' peak=0 pid
	mkdir "$copy"
	[ "$1" != cp ] || serve_gptqfs "$LARGE" "$G"
	start=$(seconds_now)
	case $1 in
	write) bounded python3 -S "$here/write_buffer.py" "$copy/f" "$SIZE" ;;
	cp)
		bounded cp -r "$MNT/fp16" "$copy"
		sync -f "$copy"
		;;
	export)
		"$gptqfs" -q --export="$copy/f" $OPTIONS "$LARGE" &
		pid=$!
		"$reader" -m memory -s 5 -p "$pid" >"$scratch/watch" &
		watcher=$!
		wait "$pid" || die "export failed"
		;;
	esac
	end=$(seconds_now)
	if [ -n "$watcher" ]; then
		kill "$watcher"
		wait "$watcher" || true
		read -r _ _ _ _ peak _ <"$scratch/watch"
	fi
	[ "$1" != cp ] || unserve "$MNT"
	awk -v r="$2" -v c="$3" -v a="$start" -v b="$end" -v p="$peak" -v n="$(du -sb "$copy" | cut -f 1)" \
		'BEGIN {print r, c, b - a, n, 0, 0, p, 0, 0}' >>"$scratch/results"
	rm -rf "$copy"
}

# A view as an ordinary directory: by --export, by cp from a mount, and the least that any way must do.
bench_export() {
	local r k i kinds=(write cp export export export) options=("" "" "" "-j 1" "--verify")
	large source
	view_size "$LARGE" $F
	: >"$scratch/results"
	for ((r = 0; r < ROUNDS; r++)); do
		for ((k = 0; k < ${#kinds[@]}; k++)); do
			i=$(((r + k) % ${#kinds[@]}))
			warm "$LARGE"/*.safetensors
			OPTIONS=${options[i]} export_once "${kinds[i]}" "$r" "$i"
		done
	done
	printf '%s\n' "a buffer, written" "cp -r from a mount" "--export" "--export, one thread" "--export --verify" >"$scratch/labels"
	echo
	echo "export of a view of $(gb "$SIZE") to $(dirname "$copy") ($ROUNDS rounds)"
	awk "$awk_common"'
	END {
		printf "  %-34s %7s %7s  %7s %-12s %7s %-12s %8s\n", "", "GB/s", "GB/s", "beside", "", "beside", "", "private"
		printf "  %-34s %7s %7s  %7s %-12s %7s %-12s %8s\n", "", "best", "median", "buffer", "(range)", "cp", "(range)", "MiB"
		for (c = 0; c < cases; c++) {
			t = collect(c, "time")
			best = list[1]
			m = ratios(c, 0, "time", 1)
			range = sprintf("(%.2f-%.2f)", ratio[1], ratio[rounds])
			x = ratios(c, 1, "time", 1)
			printf "  %-34s %7.2f %7.2f  %7.2f %-12s %7.2f %-12s %8s\n", label[c], 1 / best, 1 / t, m, range, x,
			    sprintf("(%.2f-%.2f)", ratio[1], ratio[rounds]), peak[c] ? sprintf("%.1f", peak[c] / 1024) : "-"
		}
	}' "$scratch/labels" "$scratch/results"
}

# stats_once ROUND CASE ARGUMENT...: bytes are those of the fp16 view, whatever is computed.
stats_once() {
	local start end
	start=$(seconds_now)
	bounded "$gptqfs" "${@:3}" "$LARGE" >"$scratch/out" 2>"$scratch/log"
	end=$(seconds_now)
	awk -v r="$1" -v c="$2" -v a="$start" -v b="$end" -v n="$SIZE" 'BEGIN {print r, c, b - a, n, 0, 0, 0, 0, 0}' >>"$scratch/results"
}

# Figures about all modules beside the hashes of all tensors, which also computes every weight once.
bench_stats() {
	local r
	large source
	view_size "$LARGE" $F
	warm "$LARGE"/*.safetensors
	: >"$scratch/results"
	for ((r = 0; r < ROUNDS; r++)); do
		stats_once "$r" 0 --check --sha256
		stats_once "$r" 1 --stats --json
		stats_once "$r" 2 --stats --json --against="$LARGE"
	done
	printf '%s\n' "--check --sha256" "--stats" "--stats --against the same" >"$scratch/labels"
	echo
	echo "stats: a model whose fp16 view has $(gb "$SIZE") ($ROUNDS rounds)"
	awk "$awk_common"'
	END {
		printf "  %-34s %7s %7s  %7s\n", "", "GB/s", "GB/s", "beside"
		printf "  %-34s %7s %7s  %7s %s\n", "", "best", "median", "hashes", "(range)"
		for (c = 0; c < cases; c++) {
			t = collect(c, "time")
			best = list[1]
			m = ratios(c, 0, "time", 1)
			printf "  %-34s %7.2f %7.2f  %7.2f (%.2f-%.2f)\n", label[c], 1 / best, 1 / t, m, ratio[1], ratio[rounds]
		}
	}' "$scratch/labels" "$scratch/results"
}

# pagecache_cases HOW: all kinds of mount, and two of them again.
pagecache_cases() {
	local how=$1
	add "null: FUSE that does nothing" null - "$SIZE" warm "$R" "$how"
	add "null again" null - "$SIZE" warm "$R" "$how"
	add "EROFS that does nothing" erofs - "$SIZE" warm "$R" "$how"
	add "EROFS that copies" erofs - "$SIZE" warm "-c $R" "$how"
	add "EROFS that copies, again" erofs - "$SIZE" warm "-c $R" "$how"
	add "gptqfs" gptqfs "$LARGE" $F warm "$G" "$how"
	add "gptqfs, pagecache=erofs" gptqfs "$LARGE" $F warm "$G -o pagecache=erofs" "$how"
}

bench_pagecache_read() {
	large
	pagecache_cases "-l $LIMIT"
	speeds "pagecache: first sequential read of $(gb "$LIMIT")" "$PAIRS"
}

bench_pagecache_mmap() {
	local t
	large
	for t in 1 4; do
		pagecache_cases "-m mmap -t $t -l $LIMIT"
		speeds "pagecache: $(gb "$LIMIT") touched in order by $t thread(s)" "$PAIRS"
	done
}

bench_pagecache_again() {
	large
	add "real fp16 file, in memory" file - "$DENSE" warm "" "-w -l $LIMIT"
	add "real fp16 file, again" file - "$DENSE" warm "" "-w -l $LIMIT"
	pagecache_cases "-w -l $LIMIT"
	speeds "pagecache: $(gb "$LIMIT") read again" "$ROUNDS"
}

bench_pagecache_random() {
	large
	pagecache_cases "-m random -n 20000"
	latencies "pagecache: 20000 preads of 4 KiB" "$ROUNDS"
}

bench_pagecache() {
	[ "$(id -u)" = 0 ] || die "pagecache needs root"
	bench_pagecache_read
	bench_pagecache_mmap
	bench_pagecache_again
	bench_pagecache_random
}

# What the defaults of pagecache=erofs were chosen by: threads of the server, readahead, size of requests.
bench_pagecache_choice() {
	local n k how erofs="-o pagecache=erofs"
	large
	for how in "-l $LIMIT" "-m mmap -t 4 -l $LIMIT"; do
		add "null: FUSE that does nothing" null - "$SIZE" warm "$R" "$how"
		add "the defaults" gptqfs "$LARGE" $F warm "$G $erofs" "$how"
		add "the defaults, again" gptqfs "$LARGE" $F warm "$G $erofs" "$how"
		for n in 1 2 4; do
			add "threads $n" gptqfs "$LARGE" $F warm "$G $erofs,max_threads=$n" "$how"
		done
		for k in 128 512 1024; do
			add "requests of $k" gptqfs "$LARGE" $F warm "$G $erofs,max_read=$((k * 1024))" "$how"
		done
		for k in 512 2048 4096; do
			add "readahead $k" gptqfs "$LARGE" $F warm "$erofs,readahead=$k" "$how"
		done
		speeds "pagecache: choices, $how" "$ROUNDS"
	done
}

bench_kernels() {
	[ -x "$B/check_kernel" ] || die "no $B/check_kernel; build it first"
	echo
	echo "kernels (check_kernel --bench)"
	bounded "$B/check_kernel" --bench
}

# ---- all of it ----

# Sparse models fill the page cache with zeros; with no free memory every later table would measure reclaim.
drop_model() {
	drop "$DIR"/*.safetensors
}

machine() {
	local cpu
	cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
	echo "machine: ${cpu:-$(uname -m)}, $(nproc) cores, $(awk '/^MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo), Linux $(uname -r)"
	echo "built:   $("$gptqfs" --version), readahead $READAHEAD KiB, models on $(stat -f -c %T "$work"), load $(cut -d ' ' -f 1 /proc/loadavg), $(awk '/^MemFree/ {printf "%.0f", $2 / 1048576}' /proc/meminfo) GiB free"
	[ "$(id -u)" = 0 ] || echo "note:    not root: readahead stays at the kernel's 128 KiB in all rows"
	[ "$(stat -f -c %T "$work")" != tmpfs ] || echo "note:    models are in memory: rows that say 'disk' are not; set BENCH_DIR"
}

main() {
	local sections=(read readahead threads random small mmap direct cold two scale written mount memory cp export stats families gguf lora) s free
	[ $# -gt 0 ] || set -- "${sections[@]}"
	for s in "$@"; do
		declare -F "bench_$s" >/dev/null || die "no section $s; there are: ${sections[*]} kernels pagecache{,_read,_mmap,_again,_random,_choice}"
	done
	for s in "$gptqfs" "$null" "$null_erofs" "$reader" "$pin"; do
		[ -x "$s" ] || die "$s is not built; run: make bench"
	done
	if [ -n "${BENCH_DIR:-}" ]; then
		mkdir -p "$BENCH_DIR"
		work=$(cd "$BENCH_DIR" && pwd)/models
		mkdir -p "$work"
	else
		work=$(mktemp -d "${TMPDIR:-/tmp}/gptqfs-bench.XXXXXX")
	fi
	scratch=$(mktemp -d "${TMPDIR:-/tmp}/gptqfs-bench-run.XXXXXX")
	copy=${CP_DIR:-$scratch}/gptqfs-bench-copy.$$
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	free=$(df -P -k "$work" | awk 'NR == 2 {print int($4 / 1e6)}')
	[ "$free" -ge $((LARGE_GB * 5 / 2)) ] || die "$work has $free GB free; set BENCH_DIR to another disk, or LARGE_GB lower"
	MODEL=${MODEL:-$top/../shared/models/smollm2-135m-gptq-4bit-g64}
	READAHEAD=$("$gptqfs" --help | sed -n 's/.*-o readahead=.*(\([0-9]*\)).*/\1/p')
	READAHEAD=${READAHEAD:-1024}
	R="-r $READAHEAD"
	G="-o readahead=$READAHEAD"
	LIMIT=$((LIMIT_GB * 1000000000))
	machine
	! may_pin_memory || pin_memory
	for s in "$@"; do
		[ -z "${DROP_CACHES:-}" ] || bounded "$reader" -m resident -D "$gptqfs" >"$scratch/out"
		"bench_$s"
	done
}

main "$@"
