# Everything that can be done with this repository. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CARGO := scripts/cargo
BERTH := target/release/berth

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "What starts containers needs root: sudo make demo, sudo make test."

.PHONY: deps
deps: ## Install the packages that building, the demo and the tests need (Debian)
	scripts/install-deps

.PHONY: build
build: deps ## Build the release binary, target/release/berth
	$(CARGO) build --release --locked -p berth-agent

.PHONY: demo
demo: build ## Run a master and two minions below .demo/, from goal files alone
	scripts/demo start

.PHONY: demo-stop
demo-stop: ## Stop the demo and remove its containers; its data stays in .demo/
	scripts/demo stop

.PHONY: demo-clean
demo-clean: demo-stop ## Stop the demo and remove all it made
	scripts/demo clean

.PHONY: demo-fleet
demo-fleet: build ## Run three hosts in namespaces, one cluster across them in a VLAN
	scripts/demo-fleet start

.PHONY: demo-fleet-stop
demo-fleet-stop: ## Stop the fleet demo; its data stays in .demo-fleet/
	scripts/demo-fleet stop

.PHONY: demo-fleet-clean
demo-fleet-clean: demo-fleet-stop ## Stop the fleet demo and remove all it made
	scripts/demo-fleet clean

.PHONY: package
package: build ## Make a Debian package, target/debian/berth_*.deb
	scripts/package $(BERTH)

.PHONY: vm
vm: deps-vm build ## A shell on a host with systemd and berth in a virtual machine (root); Ctrl-A X ends it
	$(CARGO) build --locked -p berth-integration --bins
	target/debug/berth-vm shell "$$(scripts/package $(BERTH))"

.PHONY: test-vm
test-vm: deps-vm ## Test a whole host with systemd in a virtual machine (root); NAMES="power limits" for some
	scripts/test-vm $(NAMES)

.PHONY: deps-vm
deps-vm:
	scripts/install-deps vm

.PHONY: test
test: deps ## Run all tests: lints, pure, loop and host tiers (root)
	scripts/test

.PHONY: test-pure
test-pure: ## Run the tests that need neither root nor packages
	$(CARGO) test --locked --workspace --lib

.PHONY: soak
soak: deps ## Run the long forms of the tests; COUNT=1000 kills and cycles, SEED=... to repeat a run
	BERTH_SOAK_COUNT=$(or $(COUNT),1000) BERTH_SOAK_SEED=$(SEED) \
		$(CARGO) test --locked -p berth-integration --test host_kill -- --nocapture
	BERTH_SOAK_COUNT=$(or $(COUNT),1000) \
		$(CARGO) test --locked -p berth-integration --test host_net kills -- --nocapture
	BERTH_SOAK_COUNT=$(or $(COUNT),1000) BERTH_SOAK_SEED=$(SEED) BERTH_SOAK_PORTS=$(or $(PORTS),400) \
		$(CARGO) test --locked -p berth-netplug --test host_soak -- --nocapture

.PHONY: fuzz
fuzz: ## Fuzz what comes with an image; SECONDS=600 for each target, TARGET=tar for one (nightly, cargo-fuzz)
	scripts/fuzz $(or $(TARGET),all) $(or $(SECONDS),600)

.PHONY: lint
lint: ## rustfmt and clippy, without warnings
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

.PHONY: deny
deny: ## Licences and sources of all dependencies (installs cargo-deny)
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --locked check licenses bans sources

.PHONY: audit
audit: ## Advisories against dependencies (cargo-deny; fetches the RustSec database)
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --locked check advisories

.PHONY: schema
schema: ## Write docs/schema/ anew from the types
	BERTH_WRITE_SCHEMA=1 $(CARGO) test --locked -p berth-model --test schema

.PHONY: bench
bench: deps ## Measure containers against runc, convergence, the agent at rest, the network (root)
	$(CARGO) build --release --locked -p berth-integration --bins
	$(CARGO) run --release --locked -p berth-benches

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean
