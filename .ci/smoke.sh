#!/bin/bash
# Runs every stage once with the real binaries on a tiny random model, and looks at what they leave behind.
# Usage: .ci/smoke.sh FOLDER_OF_THE_BINARIES
set -euo pipefail
cd "$(dirname "$0")/.."
coord=$1/mmed-coord
work=$(mktemp -d)
finish() {
    local code=$?
    if [ $code -eq 0 ]; then
        rm -rf "$work"
    else
        echo "smoke: failed; the run is kept in $work/run" >&2
        tail -n 30 "$work"/run/progress.log "$work"/run/workers/*.log >&2 2> /dev/null || true
    fi
    exit $code
}
trap finish EXIT
fail() {
    echo "smoke: $*" >&2
    exit 1
}
# Ends with the expected exit code, and says one line about it.
expect() {
    local wanted=$1 code=0
    shift
    "$@" > "$work/output" 2>&1 < /dev/null || code=$?
    [ "$code" -eq "$wanted" ] || { cat "$work/output" >&2; fail "expected exit code $wanted, found $code: $*"; }
}

"$coord" tiny-model --output "$work/model" --seed 7
run=(--config configs/smoke.yaml --cluster cluster/smoke.yaml --model "$work/model")

expect 0 "$coord" check "${run[@]}"
expect 78 "$coord" check "${run[@]}" --set gba.stpes=3
grep -q 'gba.steps' "$work/output" || fail "the nearest key is not named: $(cat "$work/output")"
expect 65 "$coord" check --config configs/smoke.yaml --cluster cluster/smoke.yaml --model "$work/no-such-model"
expect 78 "$coord" start --config configs/smoke.yaml --cluster cluster/two-hosts.yaml --model "$work/model" --run-dir "$work/refused"
grep -q 'keys' "$work/output" || fail "the reason is not named: $(cat "$work/output")"
expect 64 "$coord" no-such-command

SECONDS=0
timeout "${MMED_SMOKE_SECONDS:-180}" "$coord" start "${run[@]}" --run-dir "$work/run" < /dev/null
echo "smoke: the run took $SECONDS s"

for file in progress.log metrics.jsonl config.resolved.yaml report.txt merged/adapter_config.json merged/adapter_model.safetensors; do
    [ -s "$work/run/$file" ] || fail "$file is missing or empty"
done
for stage in base dsa gba merged; do
    grep -q "$stage" "$work/run/report.txt" || fail "report.txt has no row for $stage"
done
for specialty in adult-medicine pediatrics brain-and-senses oncology-and-surgery; do
    [ "$(find "$work/run/adapters/$specialty" -name adapter_model.safetensors | wc -l)" -ge 1 ] || fail "no adapter of $specialty"
    grep -q "dsa/$specialty" "$work/run/progress.log" || fail "progress.log does not tell of dsa/$specialty"
done
if grep -vqE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z (DEBUG|INFO |WARN |ERROR) [^ ]+ [^ ]+ event=' "$work/run/progress.log"; then
    fail "progress.log has a line of another form"
fi
python3 -c 'import json, sys; [json.loads(line) for line in open(sys.argv[1])]' "$work/run/metrics.jsonl"
expect 0 "$coord" check --config "$work/run/config.resolved.yaml" --cluster cluster/smoke.yaml --model "$work/model"
expect 0 "$coord" status --json "$work/run"
echo "smoke: passed"
