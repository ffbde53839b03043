#!/bin/bash
# Builds the fuzzing program with libFuzzer and AddressSanitizer, and searches each target for some seconds.
# Usage: .ci/fuzz.sh SECONDS [TARGET ...]
# What a search finds is kept in .build-fuzz/found/TARGET, its growing corpus in .build-fuzz/corpus/TARGET. See docs/FUZZING.md.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?usage: .ci/fuzz.sh SECONDS [TARGET ...]}
shift
case $seconds in *[!0-9]* | 0) echo "fuzz: SECONDS is $seconds, expected a whole number from 1 on" >&2; exit 64 ;; esac
build=.build-fuzz
# Without this a finding waits for a backtrace of Swift's own, which hangs under libFuzzer.
export SWIFT_BACKTRACE=enable=no
# Swift's runtime keeps memory to the end, which is no leak.
export ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=32

MMED_FUZZ=1 swift build -c release --product mmed-fuzz --scratch-path $build --sanitize=fuzzer -Xswiftc -enable-testing \
    -Xswiftc -sanitize=fuzzer,address -Xcc -fsanitize=fuzzer-no-link,address ${MMED_FUZZ_BUILD:-}
program=$build/release/mmed-fuzz

if [ $# -gt 0 ]; then targets=("$@"); else
    targets=()
    for folder in Tests/FuzzTests/Corpus/*/; do targets+=("$(basename "$folder")"); done
fi

# The number after a name in libFuzzer's final lines.
figure() { sed -nE "s/^stat::$2: *([0-9]+).*/\1/p" "$1" | tail -n 1; }

search() {
    local target=$1 log=$build/log/$1 code=0
    mkdir -p "$build/corpus/$target" "$build/found/$target" "$build/log"
    # One input may take 10 s, one block 64 MiB, the program 1 GiB: the limits that a reader of hostile bytes keeps.
    MMED_FUZZ_TARGET=$target "$program" -max_total_time="$seconds" -seed="${MMED_FUZZ_SEED:-0}" -print_final_stats=1 -timeout=10 -rss_limit_mb=1024 \
        -malloc_limit_mb=64 -artifact_prefix="$build/found/$target/" -use_value_profile=1 \
        "$build/corpus/$target" "Tests/FuzzTests/Corpus/$target" > "$log" 2>&1 < /dev/null || code=$?
    local executions coverage
    executions=$(figure "$log" number_of_executed_units)
    coverage=$(sed -nE 's/.* cov: ([0-9]+) .*/\1/p' "$log" | tail -n 1)
    printf 'fuzz: %-12s %12s executions %8s a second %7s edges %5s MB\n' "$target" "${executions:-0}" \
        "$(figure "$log" average_exec_per_sec)" "${coverage:-0}" "$(figure "$log" peak_rss_mb)"
    if [ $code -ne 0 ] || [ "${executions:-0}" -eq 0 ]; then
        local found
        found=$(sed -nE 's/.*Test unit written to (.*)$/\1/p' "$log" | tail -n 1)
        grep -aE '^(mmed-fuzz:|==[0-9]+==ERROR|SUMMARY:|.*[Ff]atal error:)' "$log" | head -n 5 >&2 || tail -n 20 "$log" >&2
        echo "fuzz: $target failed with exit code $code; the input is ${found:-not kept}, the output $log" >&2
        echo "fuzz: reproduce: SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0 MMED_FUZZ_TARGET=$target $program $found" >&2
        return 1
    fi
}

failed=0
for target in "${targets[@]}"; do search "$target" || failed=1; done
exit $failed
