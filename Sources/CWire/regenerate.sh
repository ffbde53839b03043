#!/bin/sh
# Regenerates the protobuf-c code of mmed.proto; with --check compares it with what is checked in and changes nothing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v protoc-c >/dev/null 2>&1; then
    echo "protoc-c is missing: install the Debian package protobuf-c-compiler" >&2
    exit 69
fi
wanted="protobuf-c 1.4.1"
found=$(protoc-c --version | head -n 1)
if [ "$found" != "$wanted" ]; then
    echo "protoc-c is \"$found\", the checked-in code comes from \"$wanted\": use that version, or update both here" >&2
    exit 65
fi
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
protoc-c --proto_path="$here" --c_out="$made" "$here/mmed.proto"
if [ "${1:-}" = "--check" ]; then
    for pair in "mmed.pb-c.c:mmed.pb-c.c" "mmed.pb-c.h:include/mmed.pb-c.h"; do
        if ! diff -u "$here/${pair#*:}" "$made/${pair%%:*}" >&2; then
            echo "Sources/CWire/${pair#*:} does not match mmed.proto: run Sources/CWire/regenerate.sh" >&2
            exit 65
        fi
    done
    echo "protobuf-c code matches mmed.proto"
else
    cp "$made/mmed.pb-c.c" "$here/mmed.pb-c.c"
    cp "$made/mmed.pb-c.h" "$here/include/mmed.pb-c.h"
    echo "regenerated Sources/CWire/mmed.pb-c.c and Sources/CWire/include/mmed.pb-c.h"
fi
