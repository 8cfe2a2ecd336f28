# Everything that a person or CI does here; each target sets up what it needs.

VENV ?= .venv
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
SHELL := bash
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
UV := .venv-tools/$(notdir $(BIN))/uv
CHROMIUM ?= /usr/bin/chromium
SECONDS ?= 600
SCHEDULES ?= 209
ROUNDS ?= 20
KERNELS ?= 6.31.0 7.0.1 7.1.0 newest
PYTHONS ?= 3.11 3.12 3.13
FAST_PY := tests/test_vectors.py tests/test_protocol.py tests/test_asyncapi.py tests/test_docs.py tests/test_errors.py \
  tests/test_tokens.py tests/test_auth.py tests/test_backoff.py tests/test_preview.py tests/test_pricing.py
FAST_JS := tests/state tests/protocol tests/stream tests/widget tests/view/model

# The last that the build writes.
BUNDLE := dagwidget/widget/static/details.js
SOURCES := $(shell find js/src -type f 2>/dev/null) js/build.mjs

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-py test-js test-browser test-kernels test-lowest test-latest test-pythons test-loaded bench-smoke lint format protocol lock build bench soak chaos pictures screenshots clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# `uv` writes lock files and finds the lowest versions; nothing else needs it.
$(UV):
	$(PYTHON) -m venv .venv-tools
	.venv-tools/$(notdir $(BIN))/python -m pip install --quiet uv

$(VENV)/.ready: requirements.lock pyproject.toml hatch_build.py | $(BUNDLE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

js/node_modules/.package-lock.json: js/package-lock.json js/package.json
	cd js && npm ci --loglevel=error
	touch $@

$(BUNDLE): $(SOURCES) js/node_modules/.package-lock.json
	cd js && npm run --silent build

setup: $(VENV)/.ready $(BUNDLE) ## Make the virtual environment and the front end

demo: setup ## Open the quickstart in JupyterLab, with a server of its own
	$(BIN)/dagwidget demo

test: lint test-js test-py test-browser ## Run every test

test-py: setup ## The Python tests, with their coverage
	$(BIN)/python -m pytest tests --ignore=tests/browser --cov=dagwidget --cov-report=term:skip-covered

test-js: js/node_modules/.package-lock.json ## The TypeScript tests, with their coverage
	cd js && npm test --silent -- --coverage --coverage.reporter=text-summary

# Leaves out what takes long: what is marked slow or holds a clock, and the longest of the property tests.
test-fast: setup ## An answer in half a minute: style, types and the quick tests of both languages
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q $(FAST_PY) -m "not slow and not clock"
	cd js && npx vitest run $(FAST_JS)
	@echo "left out: mypy, tsc, the browser, sockets, the layout and the property tests; make test runs them all"

test-lowest: setup $(UV) ## The unit tests with the lowest versions that pyproject.toml allows
	$(BIN)/python tools/other_versions.py lowest $(UV)

test-latest: setup $(UV) ## The unit tests with the newest of everything
	$(BIN)/python tools/other_versions.py latest $(UV)

# An environment for each Python that is found.
test-pythons: js/node_modules/.package-lock.json $(BUNDLE) ## The Python tests on these (PYTHONS="3.11 3.12 3.13")
	@failed=; for version in $(PYTHONS); do \
	  if ! command -v python$$version >/dev/null; then echo "Python $$version: not found"; continue; fi; \
	  $(MAKE) --no-print-directory test-py VENV=.pythons/$$version PYTHON=python$$version || failed="$$failed $$version"; \
	done; test -z "$$failed" || { echo "failed on Python$$failed"; exit 1; }

test-loaded: setup ## The tests that hold a clock, while both cores are busy (ROUNDS=20)
	$(BIN)/python tools/loaded.py $(ROUNDS)

test-browser: setup ## The tests in a real JupyterLab in a real browser
	CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest tests/browser

# An environment for each ipykernel; `newest` is looked up each time.
$(KERNELS:%=.kernels/%/.ready): .kernels/%/.ready: pyproject.toml $(BUNDLE)
	test -x .kernels/$*/bin/python || $(PYTHON) -m venv .kernels/$*
	.kernels/$*/bin/python -m pip install --quiet --upgrade \
	  $(if $(filter newest,$*),ipykernel,ipykernel==$*) --editable .
	touch $@
.PHONY: .kernels/newest/.ready

test-kernels: setup $(KERNELS:%=.kernels/%/.ready) ## The widget on each of these (KERNELS="6.31.0 7.0.1 7.1.0 newest")
	failed=; for kernel in $(KERNELS); do \
	  python=$(CURDIR)/.kernels/$$kernel/bin/python; \
	  $$python -c "import ipykernel; print('\nipykernel', ipykernel.__version__)"; \
	  CHROMIUM=$(CHROMIUM) KERNEL_PYTHON=$$python $(BIN)/python -m pytest tests/test_hosts.py tests/browser/test_kernels.py \
	    || failed="$$failed $$kernel"; \
	done; test -z "$$failed" || { echo "failed on:$$failed"; exit 1; }

lock: $(UV) ## Renew requirements.lock and both package-lock.json
	$(PYTHON) tools/lock.py $(UV)

lint: setup ## Check style and types, that what is generated is current, and known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd js && npm run --silent types && npm run --silent lint
	$(BIN)/python tools/audit.py

format: setup ## Put both languages into their form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd js && npm run --silent format

protocol: setup ## Write the schema, docs/asyncapi.json and js/src/protocol/messages.ts from dagwidget/protocol/messages.py
	$(BIN)/dagwidget schema > js/protocol.schema.json
	$(BIN)/dagwidget schema --asyncapi > docs/asyncapi.json
	cd js && npm run --silent protocol

build: setup ## Build the wheel and the sdist into dist/
	$(BIN)/python -m build

bench: setup ## Run the benchmarks and rewrite benchmarks/results.json (ONLY=name for a part)
	CHROMIUM=$(CHROMIUM) $(BIN)/python -m benchmarks $(ONLY)

bench-smoke: setup ## Run every benchmark with small sizes, as make test-browser does
	CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest tests/browser/test_benchmarks.py

soak: setup ## Look for anything lost or doubled over cuts and kills (SECONDS=600)
	$(BIN)/python -m benchmarks.soak $(SECONDS)

chaos: setup ## Faults of wires, servers, disks and clocks, by schedules: what is lost or doubled? (SCHEDULES=209 SEED=… ONLY=cut/17)
	CHROMIUM=$(CHROMIUM) $(BIN)/python -m tests.chaos --schedules $(SCHEDULES) \
	  $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

pictures: setup ## Store anew what the view looks like in the pictures that the tests compare: look at each
	CHROMIUM=$(CHROMIUM) PICTURES=store $(BIN)/python -m pytest -q tests/browser/test_pictures.py -k stored

screenshots: setup ## Take the README's pictures anew
	CHROMIUM=$(CHROMIUM) $(BIN)/python docs/screenshots.py

clean: ## Remove what was built
	rm -rf $(VENV) .venv-tools .versions .pythons .kernels js/node_modules js/coverage dagwidget/widget/static dist
