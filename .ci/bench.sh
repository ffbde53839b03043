#!/bin/bash
# Prints the learner's and the sampler's speed beside the machine's load: figures without the load mean little.
# Usage: .ci/bench.sh FOLDER_OF_THE_BINARIES
set -euo pipefail
cd "$(dirname "$0")/.."
echo "processor: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
echo "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
"$1/mmed-coord" bench
echo "load after: $(cut -d' ' -f1-3 /proc/loadavg)"
