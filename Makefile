# What a person types. `make help` lists it. Everything here works in a fresh clone and a second time.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ROOMS := harness emulator provisioning fixtures benchmarks tests conftest.py
PLAN ?= provisioning/plans/first.toml
ARGS ?=
# Workers of `make test`, each with boxes of its own: one more than processors, as tests also wait.
JOBS ?= $(shell echo $$(( $$(nproc) + 1 )))
# And of `make test-slow`, whose tests wait for most of their time: lines, time-outs, other programs.
SLOW_JOBS ?= $(shell echo $$(( 2 * $$(nproc) + 1 )))
# The first of these that runs and is new enough makes the venv.
PYTHON ?= python3 python3.11 python3.12 python3.13 python3.14

.PHONY: help setup packages provision test test-slow test-fast test-long test-bench xtest xtest-by-hand test-enclave test-integrity bench-enclave security-cases faults lint check bench-restore bench-console bench-attest bench-tamper bench-provision test-mutations clean

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

setup: packages $(READY) ## install what is missing: apt packages, .venv with the project in it

provision: setup ## boot one emulated TrustBox and provision it end to end
	@$(BIN)/trustbox provision --target emulator $(PLAN) $(ARGS)

test: setup ## the suite, most of it against the real OP-TEE (ARGS='-k name' for a part, of all tests)
	@if [[ -n "$(ARGS)" ]]; then exec $(BIN)/pytest $(ARGS); fi
	exec $(BIN)/pytest -n $(JOBS) --dist worksteal -m 'not slow and not long'

test-slow: setup ## the rest of the suite: bad serial lines, benches, CA, EST, DPS
	@exec $(BIN)/pytest -n $(SLOW_JOBS) --dist worksteal -m 'slow and not long'

test-fast: setup ## what needs no box: pure logic, and links against real ends
	@$(BIN)/pytest tests/unit tests/links -m 'not slow and not long' $(ARGS)

test-long: setup ## what neither of these runs: thousands of rounds, large RSA keys (not OP-TEE's xtest)
	@exec $(BIN)/pytest -n $(JOBS) --dist worksteal -m 'long and not xtest' $(ARGS)

test-bench: setup ## the device suite through the bench code: UART as a pty, over RFC 2217, and firmware as shipped
	@$(BIN)/python -m tests.bench $(ARGS)

test-enclave: setup ## every test of enclaves, 200 rounds where the suite has a sample
	@$(BIN)/pytest -m enclave -n 2 --dist loadfile $(ARGS)

test-integrity: setup ## every test of runtime integrity, 10,000 mutations where the suite has a sample
	@$(BIN)/pytest -m integrity -n 2 --dist loadfile $(ARGS)

bench-enclave: setup ## loading of enclaves: time, size, secure memory; the last line is one JSON object
	@$(BIN)/python -m benchmarks.enclave $(ARGS)

test-mutations: setup ## 10,000 mutated tokens and 10,000 mutated evidences: all refused, no crash
	@$(BIN)/pytest tests/unit/test_eat.py tests/unit/test_verdict.py -m long -n 2 $(ARGS)

xtest: setup ## OP-TEE's own suites on the box, an item a case; ends in their counts (ARGS='-k pkcs11')
	@exec $(BIN)/pytest -n 2 --dist worksteal -m xtest tests/xtest $(ARGS)

xtest-by-hand: setup ## the same suites as one plain xtest each, to compare the counts with
	@$(BIN)/python -m tests.xtest.by_hand $(ARGS)

security-cases: setup ## docs/security-cases.md anew from the tests; whoever lands a test with mark.case runs it
	@$(BIN)/python -m tests.security_cases

faults: setup ## docs/faults.md from the tests; whoever lands a test with mark.fault runs it
	@$(BIN)/python -m tests.fault_cases

lint: setup ## ruff, format and mypy
	@$(BIN)/ruff check $(ROOMS)
	$(BIN)/ruff format --check $(ROOMS)
	$(BIN)/mypy $(ROOMS)

check: lint test-fast ## what one runs before a commit

bench-restore: setup ## cold boot against restore, in one run; the last line is one JSON object
	@$(BIN)/python -m benchmarks.restore $(ARGS)

bench-console: setup ## the shell over a serial line: right under noise and loss? how fast, beside labgrid's?
	@$(BIN)/python -m benchmarks.console $(ARGS)

bench-attest: setup ## trustbox attest from its start to its end, and the TEE's part of it
	@$(BIN)/python -m benchmarks.attest $(ARGS)

bench-tamper: setup ## is a changed bit of TEE core, enclave or enclave file noticed? any false alarm?
	@$(BIN)/python -m benchmarks.tamper $(ARGS)

bench-provision: setup ## time per step of a provisioning run, and how much of it is the TEE
	@$(BIN)/python -m benchmarks.provision $(ARGS)

clean: ## remove what make and its tools put into this directory (built images stay in your cache)
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Asks dpkg each time (milliseconds) instead of keeping a stamp: packages can go away, too.
packages:
	@export DEBIAN_FRONTEND=noninteractive
	wanted=$$(sed -E 's/#.*//' emulator/apt-packages.txt | xargs)
	if ! command -v dpkg-query >/dev/null; then
	  echo "make: this is not Debian; have the like of these packages installed: $$wanted" >&2
	  exit 0
	fi
	missing=()
	for package in $$wanted; do
	  status=$$(dpkg-query -W -f='$${db:Status-Status}' "$$package" 2>/dev/null || true)
	  [[ $$status == installed* ]] || missing+=("$$package")
	done
	(( $${#missing[@]} )) || exit 0
	sudo=()
	if (( EUID != 0 )); then
	  if ! command -v sudo >/dev/null; then
	    echo "make: these packages are missing, and you are neither root nor have sudo. As root, run:" >&2
	    echo "  apt-get install --no-install-recommends $${missing[*]}" >&2
	    exit 1
	  fi
	  sudo=(sudo DEBIAN_FRONTEND=noninteractive)
	fi
	echo "make: installing $${missing[*]}"
	"$${sudo[@]}" apt-get -qq update
	"$${sudo[@]}" apt-get -qq install --yes --no-install-recommends "$${missing[@]}" >/dev/null

$(READY): pyproject.toml | packages
	@for python in $(PYTHON) none; do
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
	done
	if [[ $$python == none ]]; then
	  echo "make: Python 3.11 or newer is needed, and none of these is: $(PYTHON)." >&2
	  echo "  Name another one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2
	  exit 1
	fi
	echo "make: setting up $(VENV)"
	$(BIN)/python -c '' 2>/dev/null || $$python -m venv --clear $(VENV)
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --editable '.[dev]'
	touch $@
