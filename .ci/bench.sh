#!/bin/bash
# Prints the learner's and the sampler's speed, and the coordinator's costs with the machine's raw limits, beside the load:
# figures without the load mean little.
# Usage: .ci/bench.sh FOLDER_OF_THE_BINARIES
set -euo pipefail
cd "$(dirname "$0")/.."
load() { echo "load $1: $(cut -d' ' -f1-3 /proc/loadavg)"; }
echo "processor: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
load before
"$1/mmed-coord" bench
load "after learner and sampler"
clang -O2 -Wall -Werror -o "$1/limits" .ci/limits.c -lzmq -lsqlite3 -lpthread
"$1/limits" .
load "after the raw limits"
"$1/mmed-coord" bench --cost --config configs/quickstart.yaml
load after
