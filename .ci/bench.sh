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
# In turns, so that a machine that others slow down slows both: the ratio of each pair is what is comparable.
rates=
for _ in 1 2 3 4 5 6 7; do rates+="$("$1/mmed-coord" bench --messages) $("$1/limits" --messages)"$'\n'; done
printf %s "$rates" | awk '{ print "messages of 10,000 bytes, decoded, not durable: " $1 " a second, libzmq alone " $2 }'
printf %s "$rates" | awk '{ print $1 / $2 }' | sort -n |
    awk '{ all[NR] = $1 } END { printf "of libzmq'"'"'s rate: median %.2f, from %.2f to %.2f\n", all[int((NR + 1) / 2)], all[1], all[NR] }'
load "after the raw limits"
"$1/mmed-coord" bench --cost --config configs/quickstart.yaml
load after
