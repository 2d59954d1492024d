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

# ---- run ---------------------------------------------------------------------------------------------------------
# REPLAY=bars.csv.gz SYMBOL=6EH4 STAMP=open|close PRICE=BID   bars of a file instead of the simulated market
# IB=127.0.0.1:4002 (make up)                                  a running IB Gateway instead of the simulator
# API_PORT=8001                                                a port of your choice for the API
# DATA=folder                                                  where the data lie, one folder per source (.data)
DATA ?= .data
STACK_OPTIONS = --data '$(DATA)' $(if $(REPLAY),--replay '$(REPLAY)') $(if $(SYMBOL),--symbol '$(SYMBOL)') \
	$(if $(STAMP),--stamp '$(STAMP)') $(if $(PRICE),--price '$(PRICE)') $(if $(API_PORT),--port '$(API_PORT)')

demo: $(VENV)/.ready ## see it work: a month of bars, from the first question to the last bar, then all is gone again
	@$(PY) -m dev.demo $(STACK_OPTIONS)

up: $(VENV)/.ready ## keep everything up on this machine until Ctrl-C
	@$(PY) -m dev.up $(STACK_OPTIONS) $(if $(IB),--ib '$(IB)')

clean: ## remove what demo and up have stored
	@$(PYTHON) -m dev.folders --data '$(DATA)'

# ---- test --------------------------------------------------------------------------------------------------------
TESTS ?= tests
test: $(VENV)/.ready ## every test that needs no Docker
	$(PY) -m pytest -n 2 -q $(TESTS)

check: $(VENV)/.ready ## format, lint, types, contract tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(PY) -m pytest -q tests/contract

BENCH ?=
bench: $(VENV)/.ready ## ratios measured in one run; BENCH=reading: one of them
	$(PY) -m benchmarks $(BENCH)

format: $(VENV)/.ready ## let ruff format and mend what it can
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

.PHONY: help setup requirements demo up clean test check bench format
