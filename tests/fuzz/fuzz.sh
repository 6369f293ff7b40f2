#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Fuzzes one target and adds what it finds to a corpus: fuzz.sh TARGET SEEDS CORPUS OPTION...
set -euo pipefail
target=$1 seeds=$2 corpus=$3
shift 3
mkdir -p "$corpus"

# Entropic scheduling and the symbols of new functions take most of the time of targets with many edges; so does a
# quarantine that is larger than the processor's cache. Nothing else adds to the corpus, so it is read once. Leave
# ASAN_OPTIONS empty to repeat a crash with all stacks.
export ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=1}:quarantine_size_mb=8:malloc_context_size=0:max_malloc_fill_size=0
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
exec "$B/fuzz_$target" -entropic=0 -print_funcs=0 -reload=0 -max_len=32768 -rss_limit_mb=4096 -timeout=20 \
	-print_final_stats=1 -artifact_prefix="$corpus-crash-" "$@" "$corpus" "$seeds"
