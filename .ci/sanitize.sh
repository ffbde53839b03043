#!/bin/bash
# Runs the test suite under sanitizers. Usage: .ci/sanitize.sh address|thread ...
set -euo pipefail
cd "$(dirname "$0")/.."
# A report comes from the sanitizer; Swift's own backtrace would only hold the dying process up.
export SWIFT_BACKTRACE=enable=no
# Swift's runtime and the test runner keep memory to the end, which is no leak.
export ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=64
export TSAN_OPTIONS=suppressions=$PWD/.ci/tsan.supp:exitcode=66

for kind in "$@"; do
    before=
    case $kind in
        address) flags=(--sanitize=address) ;;
        thread)
            flags=(--sanitize=thread)
            mkdir -p .build-thread
            before=$PWD/.build-thread/tsan_refcounts.so
            clang -O2 -fPIC -shared -o "$before" .ci/tsan_refcounts.c -ldl
            ;;
        *) echo "sanitize: $kind is no sanitizer, expected address or thread" >&2; exit 64 ;;
    esac
    build=(-c release -Xswiftc -enable-testing --scratch-path ".build-$kind" "${flags[@]}" ${MMED_SANITIZE_BUILD:-})
    echo "sanitize: building for the $kind sanitizer"
    swift build --build-tests "${build[@]}"
    LD_PRELOAD=$before swift test --skip-build "${build[@]}" ${MMED_SANITIZE_TEST:-}
    echo "sanitize: the $kind sanitizer found nothing"
done
