#!/bin/bash
# Runs the test suite under sanitizers. Usage: .ci/sanitize.sh address|thread ...
set -euo pipefail
cd "$(dirname "$0")/.."
# A report comes from the sanitizer; Swift's own backtrace would only hold the dying process up.
export SWIFT_BACKTRACE=enable=no
# Swift's runtime and the test runner keep memory to the end, which is no leak.
export ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=64
export TSAN_OPTIONS=suppressions=$PWD/.ci/tsan.supp:exitcode=66

# ThreadSanitizer must report a race and no handing over of references, else its word is worth nothing either way.
probe_thread_sanitizer() {
    local place=.build-thread/probe status=0
    mkdir -p "$place"
    clang -O2 -fPIC -shared -o "$1" .ci/tsan_refcounts.c -ldl
    # The compiler takes statements at the top level in a file of this name alone.
    cp .ci/tsan_probe.swift "$place/main.swift"
    swiftc -O -sanitize=thread -o "$place/probe" "$place/main.swift"
    LD_PRELOAD=$1 "$place/probe" clean
    LD_PRELOAD=$1 "$place/probe" race > /dev/null 2>&1 || status=$?
    if [ "$status" != 66 ]; then
        echo "sanitize: ThreadSanitizer did not report a race that is one (exit code $status)" >&2
        exit 70
    fi
}

for kind in "$@"; do
    before=
    case $kind in
        address) flags=(--sanitize=address) ;;
        thread)
            flags=(--sanitize=thread)
            before=$PWD/.build-thread/tsan_refcounts.so
            probe_thread_sanitizer "$before"
            ;;
        *) echo "sanitize: $kind is no sanitizer, expected address or thread" >&2; exit 64 ;;
    esac
    build=(-c release -Xswiftc -enable-testing --scratch-path ".build-$kind" "${flags[@]}" ${MMED_SANITIZE_BUILD:-})
    echo "sanitize: building for the $kind sanitizer"
    swift build --build-tests "${build[@]}"
    LD_PRELOAD=$before swift test --skip-build "${build[@]}" ${MMED_SANITIZE_TEST:-}
    echo "sanitize: the $kind sanitizer found nothing"
done
