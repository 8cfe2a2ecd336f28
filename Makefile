# Everything that a person or CI does here; each target sets up what it needs.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
CHROMIUM ?= /usr/bin/chromium
SECONDS ?= 600

# The last that the build writes.
BUNDLE := dagwidget/widget/static/details.js
SOURCES := $(shell find js/src -type f 2>/dev/null) js/build.mjs

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-py test-js test-browser lint format protocol build bench soak pictures screenshots clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.ready: pyproject.toml hatch_build.py $(BUNDLE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

js/node_modules/.package-lock.json: js/package-lock.json js/package.json
	cd js && npm install --no-save --no-audit --no-fund --loglevel=error
	touch $@

$(BUNDLE): $(SOURCES) js/node_modules/.package-lock.json
	cd js && npm run --silent build

setup: $(VENV)/.ready ## Make the virtual environment and the front end

demo: setup ## Open the quickstart in JupyterLab, with a server of its own
	$(BIN)/dagwidget demo

test: lint test-js test-py test-browser ## Run every test

test-py: setup ## The Python tests
	$(BIN)/python -m pytest tests --ignore=tests/browser

test-js: js/node_modules/.package-lock.json ## The TypeScript tests
	cd js && npm test --silent

test-browser: setup ## The tests in a real JupyterLab in a real browser
	CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest tests/browser

lint: setup ## Check style and types, and that what is generated is current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd js && npm run --silent types && npm run --silent lint

format: setup ## Put both languages into their form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd js && npm run --silent format

protocol: setup ## Write the schema, docs/asyncapi.json and js/src/protocol/messages.ts from dagwidget/protocol/messages.py
	$(BIN)/dagwidget schema > js/protocol.schema.json
	$(BIN)/dagwidget schema --asyncapi > docs/asyncapi.json
	cd js && npm run --silent protocol

build: setup ## Build the wheel and the sdist into dist/
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m build

bench: setup ## Run the benchmarks and rewrite benchmarks/results.json (ONLY=name for a part)
	CHROMIUM=$(CHROMIUM) $(BIN)/python -m benchmarks $(ONLY)

soak: setup ## Look for anything lost or doubled over cuts and kills (SECONDS=600)
	$(BIN)/python -m benchmarks.soak $(SECONDS)

pictures: setup ## Store anew what the view looks like in the pictures that the tests compare: look at each
	CHROMIUM=$(CHROMIUM) PICTURES=store $(BIN)/python -m pytest -q tests/browser/test_pictures.py -k stored

screenshots: setup ## Take the README's pictures anew
	CHROMIUM=$(CHROMIUM) $(BIN)/python docs/screenshots.py

clean: ## Remove what was built
	rm -rf $(VENV) js/node_modules dagwidget/widget/static dist
