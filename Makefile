# Holdfast's commands. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

CARGO ?= cargo
ARCH ?= $(shell uname -m)
FUZZ_SECONDS ?= 12
FUZZ_DIR := fleet-tests/fuzz
export CARGO_TARGET_DIR ?= $(CURDIR)/target
PAGES := control/dashboard

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Both programs and everything that tests them
	$(CARGO) build --locked --workspace --all-targets

# The pages stand on Node, which the programs do not: without it, `holdfast serve` says at / how to
# build them.
.PHONY: dashboard
dashboard: ## The dashboard's pages, when they are stale; `make build` puts them into `holdfast`
	@if command -v npm >/dev/null; then
		$(MAKE) --no-print-directory $(PAGES)/dist/index.html
	else
		echo "==> no npm here: the dashboard's pages are not built (Node 20.19 or newer builds them)" >&2
	fi

$(PAGES)/node_modules/.package-lock.json: $(PAGES)/package-lock.json
	@echo "==> installing what builds the dashboard, as its lock file names it" >&2
	npm ci --prefix $(PAGES) --no-audit --no-fund
	touch $@

$(PAGES)/dist/index.html: $(PAGES)/node_modules/.package-lock.json $(PAGES)/index.html \
		$(PAGES)/vite.config.ts $(PAGES)/tsconfig.json $(PAGES)/openapi.json \
		$(shell find $(PAGES)/src $(PAGES)/scripts $(PAGES)/public -type f 2>/dev/null)
	npm run --prefix $(PAGES) build
	touch $@

# The promises that it is held to are of what is shipped: optimised where that test spends its time.
# What is below is shared with the programs that are tested, which stand there again afterwards.
OPTIMISED = $(foreach package,holdfast-control holdfast-control-core holdfast-control-ports holdfast-control-rows holdfast-api holdfast-cli $(foreach part,base records query mqtt protocol,holdfast-$(part)),$(foreach setting,opt-level=1 \
	debug-assertions=false overflow-checks=false,--config profile.dev.package.$(package).$(setting)))
.PHONY: scale
scale: dashboard ## The control plane, optimised, for the dashboard's test with 50,000 devices
	$(CARGO) build --locked --workspace --bin holdfast $(OPTIMISED)
	install -D -T "$(CARGO_TARGET_DIR)/debug/holdfast" "$(CARGO_TARGET_DIR)/scale/holdfast"
	$(CARGO) build --locked --workspace --bin holdfast

.PHONY: screenshots
screenshots: tools-dashboard dashboard build ## Every page of the dashboard, to control/dashboard/screenshots/
	npm run --prefix $(PAGES) screenshots

.PHONY: demo
demo: dashboard ## A control plane and three devices on this machine, until Ctrl-C
	@$(CARGO) build --locked --workspace --bin holdfast --bin holdfast-agent --bin demo
	exec "$(CARGO_TARGET_DIR)/debug/demo"

# Before the rest is built: what cannot be installed is known in the first minutes.
.PHONY: aarch64-agent
aarch64-agent:
	images/build aarch64 dev holdfast-agent

.PHONY: test
test: tools-test tools-dashboard aarch64-agent dashboard build scale fuzz-short ## Installs what it needs, then the whole suite
	agent="$$(images/build aarch64 dev holdfast-agent)/holdfast-agent"
	export HOLDFAST_AARCH64_AGENT="$$agent"
	$(CARGO) nextest run --locked --workspace
	$(CARGO) test --locked --workspace --doc
	npm test --prefix $(PAGES)
	HOLDFAST_BIN_DIR="$(CARGO_TARGET_DIR)/debug" HOLDFAST_SCALE_BIN="$(CARGO_TARGET_DIR)/scale/holdfast" \
		npm run --prefix $(PAGES) e2e

# What tells within two minutes, when it was built before, that a change is sound: no server, no
# program of ours, no root, nothing to install. The pages' part runs where `npm ci` has run.
QUICK_TESTS = $(foreach test,golden described,$(if $(wildcard */tests/$(test).rs),--test $(test))) \
	--test 'reconcile_*'
.PHONY: quick
quick: ## Format, lints, unit and table tests: no servers, no root, no installation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	if $(CARGO) nextest --version >/dev/null 2>&1; then
		$(CARGO) nextest run --profile quick --locked --workspace --lib $(QUICK_TESTS)
	else
		$(CARGO) test --quiet --locked --workspace --lib $(QUICK_TESTS)
	fi
	if [ -d $(PAGES)/node_modules ]; then
		npm run --prefix $(PAGES) typecheck
		npm test --prefix $(PAGES)
	else
		echo "==> the pages were not looked at: $(PAGES)/node_modules is missing (make dashboard)" >&2
	fi

.PHONY: tools-test
tools-test:
	.ci/tools test

.PHONY: tools-dashboard
tools-dashboard:
	.ci/tools dashboard

.PHONY: check
check: tools-dashboard $(PAGES)/node_modules/.package-lock.json ## Formatting, lints, documentation, licences and bans
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path $(FUZZ_DIR)/Cargo.toml --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
	npm run --prefix $(PAGES) typecheck
	npm run --prefix $(PAGES) lint
	npm run --prefix $(PAGES) client:check
	.ci/tools deny
	$(CARGO) deny --locked --log-level error check licenses bans sources
	if timeout 60 $(CARGO) deny fetch db >/dev/null 2>&1; then
		$(CARGO) deny --locked check advisories
	else
		echo "advisories: NOT CHECKED: their database is not on this machine and could not be fetched"
	fi

.PHONY: bench
bench: release ## Size, memory, wire and speed of the released programs
	HOLDFAST_BIN_DIR=$(CURDIR)/dist/$(ARCH) $(CARGO) run --locked --release --package fleet-tests --bin bench

.PHONY: bench-data
bench-data: release ## The buffer of data streams beside mosquitto's (BENCH="--quick" for a look)
	HOLDFAST_BIN_DIR=$(CURDIR)/dist/$(ARCH) $(CARGO) run --locked --release --package fleet-tests --bin bench -- data $(BENCH)

.PHONY: bench-deltas
bench-deltas: ## Deltas between public programs beside bsdiff, zstd, xdelta3 and HDiffPatch
	$(CARGO) run --locked --package fleet-tests --bin bench -- deltas $(BENCH)

.PHONY: fuzz
fuzz: FUZZ_SECONDS := 600
fuzz: fuzz-short ## Ten minutes for every decoder (FUZZ_SECONDS=N to choose)

# cargo-fuzz's flags need a nightly compiler or this variable; no sanitizer, which would need the
# nightly's own libraries: what is looked for is panics, broken promises and memory without bound.
.PHONY: fuzz-short
fuzz-short: export RUSTC_BOOTSTRAP := 1
fuzz-short:
	.ci/tools fuzz
	fuzz=(--fuzz-dir $(FUZZ_DIR) --target-dir $(CARGO_TARGET_DIR)/fuzz --sanitizer none)
	$(CARGO) fuzz build "$${fuzz[@]}"
	for target in $$($(CARGO) fuzz list --fuzz-dir $(FUZZ_DIR)); do
		echo "==> fuzzing $$target for $(FUZZ_SECONDS) s"
		mkdir -p $(FUZZ_DIR)/corpus/"$$target"
		$(CARGO) fuzz run "$${fuzz[@]}" "$$target" \
			$(FUZZ_DIR)/corpus/"$$target" $(FUZZ_DIR)/seeds/"$$target" protocol/tests/golden/v1 -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=10 -rss_limit_mb=1024 \
			-print_final_stats=0 -print_funcs=0 -verbosity=0
	done

.PHONY: world
world: SEEDS ?= 100000
world: ## The deterministic world on many seeds (SEEDS=N to choose)
	HOLDFAST_SEEDS=$(SEEDS) $(CARGO) test --locked --release --package fleet-tests --test world

.PHONY: release
release: dashboard ## Static programs into dist/ARCH (ARCH=aarch64 for others)
	images/release $(ARCH)

.PHONY: clean
clean: ## Removes what was built
	$(CARGO) clean
	rm -rf dist $(PAGES)/dist $(PAGES)/node_modules
