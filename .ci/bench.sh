#!/bin/bash
# Prints the learner's and the sampler's speed, and the coordinator's costs with the machine's raw limits, beside the load:
# figures without the load mean little.
# Usage: .ci/bench.sh FOLDER_OF_THE_BINARIES
set -euo pipefail
cd "$(dirname "$0")/.."
# The coordinator's memory through a short run of one specialty of the quickstart, on its real model.
run_memory() {
    local folder pid peak=0 trained=0 adapters moments
    folder=$(mktemp -d)
    "$1/mmed-coord" start --config configs/quickstart.yaml --run-dir "$folder/run" --set 'specialties=[pediatrics]' \
        --set dsa.examplesPerSpecialty=16 --set dsa.epochs=1 --set gba.steps=1 --set 'eval.stages=[merged]' \
        --set eval.questionsPerSpecialty=2 > "$folder/out" 2>&1 &
    pid=$!
    while kill -0 $pid 2> /dev/null; do
        now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2> /dev/null) || true
        peak=${now:-$peak}
        grep -q 'kind=merge' "$folder/run/progress.log" 2> /dev/null || trained=$peak
        sleep 0.2
    done
    wait $pid || { cat "$folder/out"; exit 1; }
    # Each adapter that the run leaves, and two moments for each weight of the one that was trained last.
    adapters=$(cat "$folder"/run/adapters/*/*/*.safetensors "$folder"/run/merged/*.safetensors | wc -c)
    moments=$((2 * $(cat "$(ls -t "$folder"/run/adapters/*/*/*.safetensors | head -n 1)" | wc -c)))
    rm -r "$folder"
    awk -v peak=$peak -v trained=$trained -v adapters=$adapters -v moments=$moments 'BEGIN {
        printf "memory with a run: %.0f MB while it trains, %.0f MB with the merge; ", trained * 1.024e-3, peak * 1.024e-3
        printf "adapters %.0f MB, optimizer state %.0f MB\n", adapters / 1e6, moments / 1e6 }'
}
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
load "after the costs"
run_memory "$1"
load after
