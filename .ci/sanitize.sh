#!/bin/bash
# Runs the test suite under sanitizers. Usage: [MMED_SLICE=ROOM,ROOM] .ci/sanitize.sh address|thread ...
# With MMED_SLICE only the tests of these rooms are built and run, and no programs.
set -euo pipefail
cd "$(dirname "$0")/.."
# Package.swift takes an empty slice for one.
if [ -z "${MMED_SLICE:-}" ]; then unset MMED_SLICE; fi
# A report comes from the sanitizer; Swift's own backtrace would only hold the dying process up.
export SWIFT_BACKTRACE=enable=no
# Swift's runtime and the test runner keep memory to the end, which is no leak.
export ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=64
export TSAN_OPTIONS=suppressions=$PWD/.ci/tsan.supp:exitcode=66

# ThreadSanitizer must report a race and no handing over of references, else its word is worth nothing either way.
probe_thread_sanitizer() {
    local place=$1/probe status=0
    mkdir -p "$place"
    clang -O2 -fPIC -shared -o "$2" .ci/tsan_refcounts.c -ldl
    # The compiler takes statements at the top level in a file of this name alone.
    cp .ci/tsan_probe.swift "$place/main.swift"
    swiftc -O -sanitize=thread -o "$place/probe" "$place/main.swift"
    LD_PRELOAD=$2 "$place/probe" clean 2> "$place/report" || {
        cat "$place/report" >&2
        # Its shadow memory has a fixed place, which some kernels' random addresses take.
        if grep -q 'FATAL: ThreadSanitizer' "$place/report"; then
            echo "sanitize: ThreadSanitizer cannot run on this machine; mend: sysctl vm.mmap_rnd_bits=28" >&2
            exit 69
        fi
        exit 70
    }
    LD_PRELOAD=$2 "$place/probe" race > /dev/null 2>&1 || status=$?
    if [ "$status" != 66 ]; then
        echo "sanitize: ThreadSanitizer did not report a race that is one (exit code $status)" >&2
        exit 70
    fi
}

# One target after another: started together, two thousand tests would share two cores and outlast their limits.
run_targets() {
    local kind=$1 before=$2 target failed=()
    for target in $targets; do
        # Under ThreadSanitizer programs are too slow for the deadlines of these tests; a whole run stands in for them.
        if [ "$kind $target" = "thread ProcessTests" ]; then continue; fi
        SECONDS=0
        if LD_PRELOAD=$before swift test --skip-build "${build[@]}" --filter "^$target\\." > "$scratch/$target.log" 2>&1 &&
            grep -q 'Test run with [1-9]' "$scratch/$target.log"; then
            echo "sanitize: $target passed, $(sed -nE 's/.*Test run with ([0-9]+ tests?) .*/\1/p' "$scratch/$target.log") in $SECONDS s"
        else
            cat "$scratch/$target.log" >&2
            failed+=("$target")
        fi
    done
    if [ ${#failed[@]} -gt 0 ]; then
        echo "sanitize: under the $kind sanitizer these failed: ${failed[*]} (see $scratch/TARGET.log)" >&2
        exit 70
    fi
}

# The programs' own threads, with workers and sockets, in a run of every stage. Reports of all its processes go to files.
run_programs() {
    local reports
    reports=$(mktemp -d)
    LD_PRELOAD=$1 TSAN_OPTIONS="$TSAN_OPTIONS:log_path=$reports/report" MMED_SMOKE_SECONDS=900 .ci/smoke.sh "$scratch/release"
    if [ -n "$(ls "$reports")" ]; then
        cat "$reports"/* >&2
        echo "sanitize: the run's processes have reports" >&2
        exit 70
    fi
    rmdir "$reports"
}

for kind in "$@"; do
    before=
    scratch=.build-$kind${MMED_SLICE:+-slice}
    if [ -n "${MMED_SLICE:-}" ]; then targets="${MMED_SLICE//,/Tests }Tests"; else targets=$(ls Tests); fi
    case $kind in
        address) ;;
        thread)
            before=$PWD/$scratch/tsan_refcounts.so
            probe_thread_sanitizer "$scratch" "$before"
            ;;
        *) echo "sanitize: $kind is no sanitizer, expected address or thread" >&2; exit 64 ;;
    esac
    build=(-c release -Xswiftc -enable-testing --scratch-path "$scratch" "--sanitize=$kind")
    echo "sanitize: building for the $kind sanitizer"
    swift build --build-tests "${build[@]}"
    run_targets "$kind" "$before"
    if [ "$kind" = thread ] && [ -z "${MMED_SLICE:-}" ]; then run_programs "$before"; fi
    echo "sanitize: the $kind sanitizer found nothing"
done
