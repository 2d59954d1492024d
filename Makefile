# Every command worth knowing. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
export PYTHONPATH := $(CURDIR):$(CURDIR)/layers/shared

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# ---- environment -------------------------------------------------------------------------------------------------
$(VENV)/.ready: requirements/dev.txt requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}: make PYTHON=python3.13 ...")'
	@echo "setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(VENV)/bin/uv pip sync --quiet --require-hashes --python $(PY) --compile-bytecode requirements/dev.txt
	@touch $@

setup: $(VENV)/.ready ## make the environment (the other commands do it when needed)

requirements: ## pin all dependencies again from pyproject.toml
	$(VENV)/bin/uv --version >/dev/null
	COMPILE="$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate" && \
	$$COMPILE pyproject.toml --extra bridge --extra dev -o requirements/dev.txt && \
	$$COMPILE pyproject.toml --extra bridge -c requirements/dev.txt -o requirements/bridge.txt && \
	$$COMPILE pyproject.toml -c requirements/dev.txt -o layers/shared/requirements.txt && \
	echo uv | $$COMPILE - -o requirements/uv.txt

# ---- test --------------------------------------------------------------------------------------------------------
TESTS ?= tests
test: $(VENV)/.ready ## every test that needs no Docker
	$(PY) -m pytest -n 2 -q $(TESTS)

conformance: $(VENV)/.ready ## the simulator against five real TWS clients, each in an environment of its own
	$(MAKE) --no-print-directory -C tests/conformance

check: $(VENV)/.ready ## format, lint, types, contract tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(PY) -m pytest -q tests/contract

format: $(VENV)/.ready ## let ruff format and mend what it can
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

.PHONY: help setup requirements test conformance check format
