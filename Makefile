# Thin: every target calls the project's own tools. `make demo` and `make test` need nothing else.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
SLACK_DIR := tests/peers/slack
PYTEST_ARGS ?=
ARGS ?=

.PHONY: install install-dev demo test lint types bench docs requirements clean

install: .venv/.run

install-dev: .venv/.dev

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Aftercare needs Python 3.11 or later; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.run: requirements.txt pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: requirements-dev.txt pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@ .venv/.run

# Peers for the tests: local-slack comes from npm; without npm its tests are skipped, and say so.
$(SLACK_DIR)/node_modules/.installed: $(SLACK_DIR)/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix $(SLACK_DIR) --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "npm is not installed: tests at a Slack-speaking server are skipped (apt-get install npm)"; fi

# The demo needs nothing but Python; with npm it also shows a Slack-speaking server on loopback, without any account.
demo: .venv/.run
	@slack=; \
	if command -v npm >/dev/null; then \
		$(MAKE) --no-print-directory --silent $(SLACK_DIR)/node_modules/.installed; \
		slack=$$(ls $(CURDIR)/$(SLACK_DIR)/node_modules/local-slack-*/bin/local-slack 2>/dev/null | head -1); \
		[ -n "$$slack" ] || echo "local-slack could not be installed on this machine: the cards are drawn in the terminal"; \
	else \
		echo "npm is not installed: there is no Slack to look at, the cards are drawn in the terminal"; \
	fi; \
	AFTERCARE_LOCAL_SLACK=$$slack exec $(BIN)/aftercare demo $(ARGS)

# A proxy that makes Slack fail, for the tests, in an environment of its own; without it its tests are skipped, and say so.
FAULTS := .bench/slack_faults/made-of
$(FAULTS): tests/peers/slack_faults/requirements.txt | .venv/.dev
	@$(BIN)/python -m tests.peers.slack_proxy || true

test: .venv/.dev $(SLACK_DIR)/node_modules/.installed $(FAULTS)
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -n 3 --dist worksteal $(PYTEST_ARGS)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: .venv/.dev
	$(BIN)/mypy

bench: .venv/.dev
	@missed=; for module in benchmarks/*.py; do name=$$(basename $$module .py); [ $$name = __init__ ] || \
		{ echo "== $$name"; $(BIN)/python -m benchmarks.$$name || missed="$$missed $$name"; }; done; \
	[ -z "$$missed" ] || { echo "limits missed in:$$missed"; exit 1; }

docs: .venv/.dev
	$(BIN)/python -m pytest -q tests/unit/test_docs.py

# Pins: reproducible on other platforms, with hashes, naming no registry.
requirements:
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --extra postgres --extra scale --extra build pyproject.toml -o requirements.txt
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --all-extras pyproject.toml -o requirements-dev.txt
