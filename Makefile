# geodrop: what one does here every day. `make` alone lists it.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .local/venv
PY := $(VENV)/bin/python
UV := .local/uv/bin/uv
# A stamp carries the hash of its lock: nothing is done while the lock is the same, whatever its time.
hash = $(firstword $(shell cat $(1) | cksum))
UV_READY := .local/uv/ready-$(call hash,requirements/uv.txt)
READY := $(VENV)/ready-$(call hash,requirements/dev.txt)
BENCH_READY := .local/bench-venv/ready-$(call hash,requirements/bench.txt)
CHECKOV_READY := .local/checkov/ready-$(call hash,requirements/checkov.txt)
# Programs of the hooks that no Python package carries: built where there is go, else `mise install` brings them.
ACTIONLINT := 1.7.12
TFLINT := 0.64.0
HOOK_TOOLS := $(if $(shell command -v go),.local/bin/actionlint-$(ACTIONLINT) .local/bin/tflint-$(TFLINT))
# Tests of parts that may not be there in a slim checkout are taken when they are.
# The longest first, since what shares fixtures is worked on by one process.
QUICK_TESTS := $(wildcard tests/live tests/stack tests/plan tests/integration tests/browser tests/guardrails tests/unit tests/packaging)

export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup hooks doctor demo up down reset invoke serve build fmt lint test unit integration soak property stack-test plan-test browser-test chromium screenshots e2e e2e-iam e2e-docs bench lock checkov

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# --- Set-up -----------------------------------------------------------------

setup: $(READY) ## Make the Python environment from the hashed locks (quick when nothing changed)

hooks: setup $(HOOK_TOOLS) ## Set up what the hooks run, tflint and actionlint too (built once, where there is go; 2 min)

$(UV_READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "geodrop needs Python 3.11 or newer: make PYTHON=python3.12")'
	@echo "Setting up uv ..."
	@rm -rf .local/uv && $(PYTHON) -m venv .local/uv
	@.local/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(READY): | $(UV_READY)
	@echo "Setting up the Python environment in $(VENV) ..."
	@test -x $(PY) || $(UV) venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip sync --quiet --require-hashes requirements/dev.txt
	@rm -f $(VENV)/ready-*; touch $@

.local/bin/actionlint-$(ACTIONLINT) .local/bin/tflint-$(TFLINT):
	@echo "Building $(@F) for the hooks (once) ..."
	@mkdir -p .local/bin
	@if GOBIN=$(CURDIR)/.local/bin go install \
	    $(if $(findstring tflint,$@),github.com/terraform-linters/tflint@v$(TFLINT),github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT)) \
	    2>.local/bin/build.log; then touch $@; \
	  else echo "$(@F) could not be built (.local/bin/build.log): its hook will say that it is missing."; fi

chromium: ## Install Chromium for the tests of the page (root on Debian; elsewhere they are skipped without it)
	@command -v chromium >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing Chromium with apt-get (once; about 30 s) ..."; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-inter >/dev/null; \
	  else echo "There is no chromium on PATH: the tests of the page are skipped."; fi

checkov: $(CHECKOV_READY) ## Make checkov's own environment, .local/checkov

$(CHECKOV_READY): | $(UV_READY)
	@echo "Setting up checkov in .local/checkov ..."
	@test -x .local/checkov/bin/python || $(UV) venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .local/checkov
	@VIRTUAL_ENV=$(CURDIR)/.local/checkov $(UV) pip sync --quiet --require-hashes requirements/checkov.txt
	@rm -f .local/checkov/ready-*; touch $@

# dev.txt comes first: functions.in takes its versions from it.
lock: $(UV_READY) ## Write requirements/*.txt anew from the .in files (UPGRADE=1 takes newer versions)
	@cd requirements && for name in uv dev functions checkov bench; do \
	  $(CURDIR)/$(UV) pip compile --quiet $(if $(UPGRADE),--upgrade) --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $$name.in -o $$name.txt; done

doctor: setup ## Say what is here and what is missing, and how to get it
	@$(PY) -m local.doctor

# --- The embedded stack -----------------------------------------------------

demo: setup ## Start the whole pipeline here, load examples/, check the counts, print the addresses
	@$(PY) -m local.stack demo

down: setup ## Stop the embedded stack; its data stays
	@$(PY) -m local.stack down

reset: setup ## Stop the embedded stack and forget its data
	@$(PY) -m local.stack reset

invoke: setup ## Run a function on an event: make invoke EVENT=events/s3-put.json [FRESH=1]
	@$(PY) -m local.stack invoke $(if $(FRESH),--fresh) $(or $(EVENT),$(error say which event: make invoke EVENT=events/s3-put.json))

up: setup ## Start the embedded stack without loading the examples
	@$(PY) -m local.stack up

serve: setup ## The API and the page on http://127.0.0.1:8080 without an emulator between, reloading on change [PORT=..]
	@$(PY) -m local.serve --port $(or $(PORT),8080)

build: setup ## Make dist/*.zip, one a function
	@$(PY) functions/build.py

# --- Checks -----------------------------------------------------------------

fmt: setup ## Format the Python code
	@$(VENV)/bin/ruff check --quiet --fix-only . && $(VENV)/bin/ruff format --quiet .

lint: setup ## Check format, lint and types
	@$(VENV)/bin/ruff format --check --quiet . && $(VENV)/bin/ruff check --quiet . && $(VENV)/bin/mypy

test: lint hooks checkov chromium ## Lint and run all tests that need no Terragrunt environment
	@$(PY) -m pytest -q -n 2 $(QUICK_TESTS)

unit: setup ## Unit tests
	@$(PY) -m pytest -q tests/unit

integration: setup ## Tests on a real PostGIS
	@$(PY) -m pytest -q tests/packaging tests/integration

soak: setup ## The tests of concurrent and of killed workers, much larger: make soak [N=20]
	@GEODROP_SOAK=$(or $(N),20) $(PY) -m pytest -q tests/integration/test_concurrency.py tests/integration/test_kills.py

property: setup ## Hold the compiled checker to Cerberus on new rows each time: make property [N=100000] rows by rule
	@GEODROP_PROPERTY_ROWS=$(or $(N),100000) GEODROP_PROPERTY_EXAMPLES=2500 \
	  $(PY) -m pytest -q -n 2 --dist worksteal tests/unit/test_checker.py

fuzz: setup ## Thousands of requests that schemathesis makes up, new ones each time: make fuzz [N=800] [SEED=..]
	@GEODROP_FUZZ=$(or $(N),800) GEODROP_FUZZ_SEED=$(SEED) $(PY) -m pytest -q tests/integration/test_openapi.py -k schemathesis

stack-test: setup ## Tests on a running stack: the one GEODROP_STACK names, or one of their own
	@$(PY) -m pytest -q tests/stack

plan-test: setup ## Plans of the Terraform modules
	@$(PY) -m pytest -q tests/plan

browser-test: setup chromium ## Tests of the page in Chromium
	@$(PY) -m pytest -q tests/browser

screenshots: setup chromium ## Write docs/screenshots/ anew
	@$(PY) -m pytest -q tests/browser/screenshots.py

e2e: setup ## Apply one environment to the emulator and test it: make e2e ENV=dev
	@GEODROP_ENV=$(or $(ENV),dev) $(PY) -m pytest -q -s -p no:schemathesis tests/e2e/test_environment.py

e2e-iam: setup ## Apply live/dev where IAM is enforced, and try calls beyond the roles
	@$(PY) -m pytest -q tests/e2e/test_permissions.py

e2e-docs: setup ## Follow docs/deploying.md to the letter: first answer, change, rollback, teardown
	@$(PY) -m pytest -q -s tests/e2e/test_deploying.py

bench: setup $(BENCH_READY) ## Measure beside psql, ogr2ogr, geopandas, tipg; writes bench/results.json, docs/performance.md
	@$(PY) bench/run.py $(if $(QUICK),--quick)

$(BENCH_READY): $(UV_READY) requirements/bench.txt
	@echo "Setting up what the benches measure against in .local/bench-venv ..."
	@test -x .local/bench-venv/bin/python || $(UV) venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .local/bench-venv
	@VIRTUAL_ENV=$(CURDIR)/.local/bench-venv $(UV) pip sync --quiet --require-hashes requirements/bench.txt
	@rm -f .local/bench-venv/ready-*; touch $@
