# Two commands matter: `make demo` and `make test`. Both are safe to repeat. `make` alone lists all.
.DEFAULT_GOAL := help
SHELL := /bin/bash

BIN := .build/release
# Tests need internals, so they have a build of their own; without it each `make test` would undo `make build`.
TEST_BUILD := -c release -Xswiftc -enable-testing --scratch-path .build-test
TEST_BIN := .build-test/release
# The simulation alone: no database, no engine, a few minutes to build.
SIMULATE := .build-simulate/release/mmed-simulate
SIMULATE_BUILD := MMED_SLICE=MMedSimulation swift build -c release --product mmed-simulate --scratch-path .build-simulate
SIMULATE_OPTIONS = $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(THREADS),--threads $(THREADS))

.PHONY: help
help: ## list these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1|/' | \
		awk -F'|' '{ printf "make %-8s %s\n", $$1, $$2 }'

.PHONY: setup
setup: ## check the Swift toolchain, install what Debian packages are missing, fetch the model once
	@.ci/setup.sh

.PHONY: testtools
testtools:
	@.ci/setup.sh --tests

.PHONY: build
build: setup ## build mmed-coord and mmed-worker into .build/release
	swift build -c release

.PHONY: demo
demo: build ## train, merge and evaluate by configs/quickstart.yaml, in about a quarter of an hour
	$(BIN)/mmed-coord start --config configs/quickstart.yaml

.PHONY: test
test: testtools lint wire data ## pass all tests: layout, generated code, the data's origin, unit and golden tests, house rules, a smoke run
	swift build --build-tests $(TEST_BUILD)
	swift test --skip-build $(TEST_BUILD)
	.ci/smoke.sh $(TEST_BIN)
	@echo "make test: everything passed"

.PHONY: lint
lint: ## check the layout of all Swift files
	swift format lint --strict --recursive Sources Tests Package.swift

.PHONY: wire
wire: ## compare the generated protobuf-c code with its schema
	Sources/CWire/regenerate.sh --check

.PHONY: data
data: setup ## build the quickstart data anew and find the same bytes, and no test row in the training file
	.ci/data.sh

.PHONY: fuzz
fuzz: SECONDS := 15
fuzz: setup ## search the inputs of every parser for SECONDS=15 each, or of TARGET=wire alone (docs/FUZZING.md)
	.ci/fuzz.sh $(SECONDS) $(TARGET)

.PHONY: sanitize
sanitize: setup ## run the test suite under AddressSanitizer, then ThreadSanitizer; KINDS=thread, SLICE=ROOM,ROOM for less (docs/FUZZING.md)
	MMED_SLICE='$(SLICE)' .ci/sanitize.sh $(or $(KINDS),address thread)

.PHONY: smoke
smoke: build ## run every stage once on a tiny random model, with the real binaries
	.ci/smoke.sh $(BIN)

.PHONY: chaos
chaos: testtools ## kill, stop and cut off the real programs: N=cycles, or SECONDS=…; SEED=… RUN=… does one run again
	swift build --build-tests $(TEST_BUILD)
	MMED_CHAOS_N='$(N)' MMED_CHAOS_SECONDS='$(if $(N)$(RUN),$(SECONDS),$(or $(SECONDS),60))' MMED_CHAOS_SEED='$(SEED)' \
		MMED_CHAOS_RUN='$(RUN)' swift test --skip-build $(TEST_BUILD) --filter ProcessTests.Processes/Chaos

.PHONY: simulate
simulate: ## simulate HOURS=1 of runs with faults, or SECONDS=60 of the clock; SEED=… RUNS=1 plays one again (docs/SIMULATION.md)
	$(SIMULATE_BUILD)
	$(SIMULATE) $(SIMULATE_OPTIONS) $(if $(HOURS),--hours $(HOURS)) $(if $(RUNS),--runs $(RUNS)) \
		$(if $(FAULTS),--faults $(FAULTS)) $(if $(LINES),--lines $(LINES))

.PHONY: mutants
mutants: ## plant known protocol bugs one at a time and catch each within SECONDS=60; ONLY=a,b are these alone (docs/SIMULATION.md)
	$(SIMULATE_BUILD)
	$(SIMULATE) mutants $(SIMULATE_OPTIONS) $(if $(ONLY),--only $(ONLY))

.PHONY: hostile
hostile: testtools ## attack whole runs by workers that lie: COUNT=1000000 messages, IDLE=1000 connections, PAIRS=2, CROWD=8, WORK=tiny LENGTH=4, SEED=…
	swift build --build-tests $(TEST_BUILD)
	MMED_HOSTILE_COUNT=$(or $(COUNT),1000000) MMED_HOSTILE_IDLE=$(or $(IDLE),1000) MMED_HOSTILE_SEED='$(SEED)' \
		MMED_HOSTILE_WORK=$(or $(WORK),quickstart) MMED_HOSTILE_LENGTH='$(LENGTH)' MMED_HOSTILE_PAIRS='$(PAIRS)' \
		MMED_HOSTILE_CROWD='$(CROWD)' \
		swift test --skip-build $(TEST_BUILD) --filter ProcessTests.Processes/Hostile

.PHONY: crash
crash: testtools ## lose any of the sectors that the journal wrote since its last acknowledgement, STATES=100000 times; SEED=…
	swift build --build-tests $(TEST_BUILD)
	MMED_CRASH_STATES=$(or $(STATES),100000) MMED_CRASH_SEED='$(SEED)' swift test --skip-build $(TEST_BUILD) \
		--filter MMedStoreTests.CrashStateTests

.PHONY: recovery
recovery: testtools ## measure a restart with a journal of a million records (RECORDS=… TRIES=…), and verify of its whole chain
	swift build --build-tests $(TEST_BUILD)
	MMED_RECOVERY_RECORDS=$(or $(RECORDS),1000000) MMED_RECOVERY_TRIES=$(or $(TRIES),30) \
		swift test --skip-build $(TEST_BUILD) --filter ProcessTests.Processes/Recovery

.PHONY: bench
bench: build ## measure learner and sampler, and what the coordinator costs beside the machine's raw limits, with the load
	.ci/bench.sh $(BIN)

.PHONY: format
format: ## lay out all Swift files
	swift format --in-place --recursive Sources Tests Package.swift

.PHONY: clean
clean: ## remove what was built; runs and the model cache stay
	rm -rf .build .build-*
