# Every command worth knowing. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
export PYTHONPATH := $(CURDIR):$(CURDIR)/layers/shared:$(CURDIR)/clients/python
# What the shell tells another Python (PYTHONHOME, PYTHONWARNINGS, PYTHONINSPECT) is not for ours.
unexport $(filter-out PYTHONPATH,$(filter PYTHON%,$(.VARIABLES)))

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# On a terminal uv shows how far it is; elsewhere it would only list a hundred packages.
QUIET := $(shell test -t 2 || echo --quiet)

# ---- environment -------------------------------------------------------------------------------------------------
# In .venv, for what runs (.run): requirements/run.txt. For tests and development (.ready): requirements/dev.txt, which has
# more. Where the second is there, what runs uses it, so that no command takes the other's tools away.
# uv installs both, and the environments beside them; a rule that needs no more than uv waits for .uv alone.
$(VENV)/.uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}: make PYTHON=python3.13 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/.run: requirements/run.txt | $(VENV)/.uv
$(VENV)/.ready: requirements/dev.txt | $(VENV)/.uv
$(VENV)/.run $(VENV)/.ready:
	@test '$(@F)' = .run -a -e $(VENV)/.ready || { \
		echo "setting up $(VENV): 1 to 5 minutes, once; most of it is downloads and compiling bytecode"; \
		$(VENV)/bin/uv pip sync $(QUIET) --require-hashes --python $(PY) --compile-bytecode $<; }
	@touch $@

RUN := $(if $(wildcard $(VENV)/.ready),$(VENV)/.ready,$(VENV)/.run)

setup: $(VENV)/.ready ## make the environment of tests and development (the other commands do it when needed)

requirements: ## pin all dependencies again from pyproject.toml
	$(VENV)/bin/uv --version >/dev/null
	COMPILE="$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate" && \
	$$COMPILE pyproject.toml --extra bridge --extra api --extra run --extra dev -o requirements/dev.txt && \
	$$COMPILE pyproject.toml --extra bridge-async --extra api --extra run --extra dev -c requirements/dev.txt -o requirements/ib-async.txt && \
	$$COMPILE pyproject.toml --extra bridge --extra api --extra run -c requirements/dev.txt -o requirements/run.txt && \
	$$COMPILE pyproject.toml --extra bridge -c requirements/dev.txt -o requirements/bridge.txt && \
	$$COMPILE pyproject.toml --extra exports -c requirements/dev.txt -o requirements/exports.txt && \
	$$COMPILE pyproject.toml --extra lake -c requirements/exports.txt -o requirements/lake.txt && \
	$$COMPILE pyproject.toml -c requirements/dev.txt -o layers/shared/requirements.txt && \
	$$COMPILE pyproject.toml --extra api -c requirements/dev.txt -o requirements/api.txt && \
	echo 'nautilus_trader==1.221.0' | $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate - -o requirements/nautilus-1.txt && \
	printf 'awslambdaric\nboto3\n' | $$COMPILE - -c requirements/dev.txt -o requirements/lambda.txt && \
	printf 'nautilus_trader==2.0.0rc7\npydantic\n' | $$(echo "$$COMPILE" | sed 's/3\.11/3.13/') - -c requirements/dev.txt -o requirements/strategies.txt && \
	printf 'aws-sam-cli\ncfn-lint\n' | $$COMPILE - -o requirements/sam.txt && \
	printf 'urllib3\npandas\npolars\npyarrow\nduckdb\nmplfinance\nsix\nkeyring\nshtab\nbuild\nhatchling\n' | $$COMPILE - -o requirements/python-client.txt && \
	printf 'pytest\nhypothesis\npandas\nurllib3\n' | $$COMPILE - -c requirements/dev.txt -o requirements/client-tests.txt && \
	echo 'ministack[full]' | $$COMPILE - -o requirements/emulator.txt && \
	echo playwright | $$COMPILE - -o requirements/front-end.txt && \
	echo uv | $$COMPILE - -o requirements/uv.txt

# pyarrow is 165 MB and more than most people need: the export task has an environment of its own, and `make up` runs it where
# that is there. .venv-lake has other readers of Arrow and Parquet, for tests.
.venv-exports/.ready: requirements/exports.txt | $(VENV)/.uv
.venv-lake/.ready: requirements/lake.txt | $(VENV)/.uv
.venv-exports/.ready .venv-lake/.ready:
	@$(VENV)/bin/uv venv --quiet --clear --python $(PYTHON) $(@D)
	@$(VENV)/bin/uv pip sync $(QUIET) --require-hashes --python $(@D)/bin/python $<
	@touch $@

# NautilusTrader's first line, to read a catalog; its second is .venv-strategies. It needs Python 3.12 or 3.13.
.venv-nautilus-1/.ready: requirements/nautilus-1.txt | $(VENV)/.uv
	@$(VENV)/bin/uv venv --quiet --clear --python '$(or $(PYTHON_LAMBDA),$(PYTHON))' $(@D)
	@$(VENV)/bin/uv pip sync $(QUIET) --require-hashes --python $(@D)/bin/python $<
	@touch $@

lake: $(VENV)/.ready .venv-exports/.ready .venv-lake/.ready .venv-nautilus-1/.ready ## our Arrow, Parquet and catalogs read by DuckDB, polars, pyarrow, nanoarrow, NautilusTrader
	$(PY) -m pytest -q tests/integration/exports

exports-environment: .venv-exports/.ready ## make the environment of the export task, so that make up runs it

# ---- run ---------------------------------------------------------------------------------------------------------
# REPLAY=bars.csv.gz SYMBOL=6EH4 STAMP=open|close PRICE=BID   bars of a file instead of the simulated market
# CLASS=STK|CASH|FUT|IND|CRYPTO ZONE=America/New_York          what the file holds, whose its times without a zone are
# SESSION=rth|all                                              which of its bars to ask for
# IB=127.0.0.1:4002 (make up)                                  a running IB Gateway instead of the simulator
# AT=http://127.0.0.1:8001 (make demo)                         an API that runs already; NAUTILUS_DEMO_PASSWORD=...
# API_PORT=8001                                                a port of your choice for the API
# DATA=folder                                                  where the data lie, one folder per source (.data)
DATA ?= .data
# Desktops export a SESSION of their own: from the environment only our two words count.
SESSION_GIVEN = $(or $(filter command,$(origin SESSION)),$(filter rth all,$(SESSION)))
STACK_OPTIONS = --data '$(DATA)' $(if $(REPLAY),--replay '$(REPLAY)') $(if $(SYMBOL),--symbol '$(SYMBOL)') \
	$(if $(STAMP),--stamp '$(STAMP)') $(if $(PRICE),--price '$(PRICE)') $(if $(CLASS),--class '$(CLASS)') \
	$(if $(ZONE),--zone '$(ZONE)') $(if $(SESSION_GIVEN),--session '$(SESSION)') $(if $(API_PORT),--port '$(API_PORT)')

# Ctrl-C while Python starts waits until dev/launch.py has something better to say than a traceback.
START := $(shell env --block-signal=INT true 2>/dev/null && echo env --block-signal=INT) $(PY)

demo: $(RUN) ## see it work: a month of bars, from the first question to the last bar, then all is gone again
	@$(if $(IB),echo 'make demo shows a simulated market; for an IB Gateway: make up IB=$(IB)'; exit 2)
	@$(START) -m dev.demo $(STACK_OPTIONS) $(if $(AT),--at '$(AT)')

orders-show: $(RUN) ## see what becomes of orders when a process dies, a leg is refused, a socket is half open (half a minute)
	@$(START) -m dev.orders_show

# MINUTES=4..120 of market time, SPEED: market seconds in a second
live-show: $(RUN) ## see a chart over ten minutes with the bridge killed in the middle, then beside history (MINUTES=10 SPEED=1)
	@$(START) -m dev.live_show --minutes '$(or $(MINUTES),10)' --speed '$(or $(SPEED),1)'

# MINUTES=4..300 of market time, SPEED: market seconds in a second, REPORT: where the page of the back-test goes
strategies-show: $(RUN) ## see a strategy in a back-test, in paper and live, with a report (MINUTES=60 SPEED=20 REPORT=.data/report.html)
	@$(START) -m dev.strategies_show --minutes '$(or $(MINUTES),60)' --speed '$(or $(SPEED),20)' --report '$(or $(REPORT),$(DATA)/report.html)'

up: $(RUN) ## keep everything up on this machine until Ctrl-C
	@$(START) -m dev.up $(STACK_OPTIONS) --profile $(if $(IB),--ib '$(IB)')

admin: $(RUN) ## make an administrator of what runs (NAME=admin), and show the password once
	@$(START) -m dev.admin --data '$(DATA)' --name '$(or $(NAME),admin)'

# CANCEL=none|entries|ours|everything, ACCOUNT=DU1234567 (all without it), FLATTEN=1
kill: $(RUN) ## halt trading and cancel orders at once (REASON='...', CANCEL=entries, ACCOUNT=, FLATTEN=1, URL=)
	@$(PY) -m dev.kill --data '$(DATA)' $(if $(URL),--url '$(URL)') --reason '$(or $(REASON),make kill)' \
		$(if $(CANCEL),--cancel '$(CANCEL)') $(if $(ACCOUNT),--account '$(ACCOUNT)') $(if $(FLATTEN),--flatten)

# URL=postgresql://...   a database that is not that of `make up`
migrate: $(RUN) ## bring the database of URL to this version's schema (AFTER=1: the second half, after a deployment)
	@$(if $(URL),NAUTILUS_DATABASE_URL='$(URL)') $(PY) -m nautilus.db.migrate $(if $(AFTER),--after)

verify: $(RUN) ## prove coverage against bars against sessions, while `make up` runs (REPAIR=1 mends; URL=)
	@$(START) -m dev.store verify --data '$(DATA)' $(if $(URL),--url '$(URL)') $(if $(REPAIR),--repair)

forget: $(RUN) ## forget what is older than it is kept (docs/operations.md), while `make up` runs (URL=)
	@$(START) -m dev.store forget --data '$(DATA)' $(if $(URL),--url '$(URL)')

backup: $(RUN) ## copy the database to FILE (nautilus.dump), while `make up` runs (URL=)
	@$(START) -m dev.store backup '$(or $(FILE),nautilus.dump)' --data '$(DATA)' $(if $(URL),--url '$(URL)')

restore: $(RUN) ## make a database INTO (nautilus_restored) of FILE, migrate and verify it (URL=)
	@$(START) -m dev.store restore '$(or $(FILE),nautilus.dump)' --data '$(DATA)' $(if $(URL),--url '$(URL)') \
		--into '$(or $(INTO),nautilus_restored)'

clean: ## remove what demo and up have stored
	@$(PYTHON) -m dev.folders --data '$(DATA)'

# ---- AWS and containers (docs/operations.md) ----------------------------------------------------------------------
# ENV=dev|staging|prod   the section of samconfig.toml; ARCH=arm64 must agree with the stack's parameter Architecture
ENV ?= dev
ARCH ?= x86_64
BUILD := .aws-sam/build
SAM = SAM_CLI_TELEMETRY=0 UV='$(CURDIR)/$(VENV)/bin/uv' ARCH=$(ARCH) PYTHON_LAMBDA='$(PYTHON_LAMBDA)' .venv-sam/bin/sam
SAM_LOCAL := $(CURDIR)/.venv-sam/bin/sam
DOCKER ?= docker
COMPOSE ?= $(DOCKER) compose
TAG ?= $(shell git rev-parse --short=12 HEAD)
# Lambda's Python, if this machine has it; a shim of pyenv may exist and not work, so each is tried.
PYTHON_LAMBDA ?= $(shell for p in "$$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.13; do \
	"$$p" -c 'import sys; sys.stdout.write(sys.executable)' 2>/dev/null && break; done)

# SAM has some eighty dependencies of its own, some older than ours: an environment of its own.
.venv-sam/.ready: requirements/sam.txt | $(VENV)/.uv
	@$(VENV)/bin/uv venv --quiet --clear --python $(PYTHON) .venv-sam
	@$(VENV)/bin/uv pip sync --quiet --require-hashes --python .venv-sam/bin/python requirements/sam.txt
	@touch $@

# The interpreter and libraries that are /var/lang and /var/runtime in Lambda, to run what was built.
.venv-lambda/.ready: requirements/lambda.txt | $(VENV)/.uv
	@$(VENV)/bin/uv venv --quiet --clear --python '$(PYTHON_LAMBDA)' .venv-lambda
	@$(VENV)/bin/uv pip sync --quiet --require-hashes --python .venv-lambda/bin/python requirements/lambda.txt
	@touch $@

# The engine of strategies needs Python 3.13, and an environment of its own. STRATEGY_PYTHON names another interpreter;
# where there is none, all else runs, and what needs the engine says so.
STRATEGY_PYTHON ?= $(PYTHON_LAMBDA)
.venv-strategies/.ready: requirements/strategies.txt | $(VENV)/.uv
	@test -n '$(STRATEGY_PYTHON)' || { echo 'strategies need a python3.13: make STRATEGY_PYTHON=... strategies'; exit 2; }
	@$(VENV)/bin/uv venv --quiet --clear --python '$(STRATEGY_PYTHON)' .venv-strategies
	@$(VENV)/bin/uv pip sync $(QUIET) --require-hashes --python .venv-strategies/bin/python --compile-bytecode requirements/strategies.txt
	@touch $@

.PHONY: strategies
strategies: .venv-strategies/.ready ## make the environment in which strategies run (STRATEGY_PYTHON=python3.13)

SOURCES := $(shell find functions layers infra/template.yaml samconfig.toml -name __pycache__ -prune -o -type f -print)
$(BUILD)/.ready: .venv-sam/.ready $(SOURCES)
	@mkdir -p .aws-sam
	@$(SAM) build >.aws-sam/build.log 2>&1 || { cat .aws-sam/build.log; exit 1; }
	@touch $@

build: $(BUILD)/.ready $(if $(PYTHON_LAMBDA),.venv-lambda/.ready) ## build functions and layer for Lambda, without Docker
	@du -sh $(BUILD)/*/

lint-template: .venv-sam/.ready ## check infra/template.yaml, offline
	AWS_DEFAULT_REGION=us-east-1 $(SAM) validate
	.venv-sam/bin/cfn-lint infra/template.yaml

deploy: $(BUILD)/.ready ## bring the stack of ENV to what is built here
	$(SAM) deploy --config-env $(ENV)

logs: .venv-sam/.ready ## follow the logs of functions and bridge of ENV
	$(SAM) logs --tail $(foreach group,api auth bars backfill live monitoring orders portfolio frontend exports strategies bridge order-process ib-gateway stream export-task strategy-host,--cw-log-group /nautilus/$(ENV)/$(group))

image: ## build the images of bridge, simulator, API, stream, export task and strategies (TAG=...)
	$(DOCKER) build $(DOCKER_OPTIONS) -f ib_bridge/Dockerfile -t nautilus-bridge:$(TAG) .
	$(DOCKER) build $(DOCKER_OPTIONS) -f ib_gateway_sim/Dockerfile -t nautilus-simulator:$(TAG) .
	$(DOCKER) build $(DOCKER_OPTIONS) -f infra/api.Dockerfile -t nautilus-api:$(TAG) .
	$(DOCKER) build $(DOCKER_OPTIONS) -f stream/Dockerfile -t nautilus-stream:$(TAG) .
	$(DOCKER) build $(DOCKER_OPTIONS) -f export_task/Dockerfile -t nautilus-export:$(TAG) .
	$(DOCKER) build $(DOCKER_OPTIONS) -f strategy_runner/Dockerfile -t nautilus-strategies:$(TAG) .

# SOURCE=sim|ib: the simulator, or IB Gateway (its env file says what it needs).
SOURCE ?= sim
COMPOSED = $(COMPOSE) --env-file infra/$(SOURCE).env -f infra/compose.yaml
containers: ## the whole system in containers, API on port 8001 (SOURCE=ib: with IB Gateway)
	$(COMPOSED) up $(if $(DOCKER_OPTIONS),,--build) -d

# SAM_OPTIONS=--skip-pull-image where the registry cannot be reached; KEEP=1 stays until Ctrl-C; SAM_PORT=3000 instead of
# a free port (API_PORT is that of the containers' own API).
sam-local: $(BUILD)/.ready containers ## the built functions under `sam local`, the demo against them
	@$(PY) -m dev.sam_local --compose '$(COMPOSED)' --network $(if $(filter ib,$(SOURCE)),nautilus-ib,nautilus)_default \
		--sam '$(SAM_LOCAL) local start-api $(SAM_OPTIONS)' $(if $(KEEP),--keep) $(if $(SAM_PORT),--port '$(SAM_PORT)')

# ministack: MIT, young. 3.13, as it runs the functions in its own interpreter.
.venv-emulator/.ready: requirements/emulator.txt | $(VENV)/.uv
	@test -n '$(PYTHON_LAMBDA)' || { echo 'the emulator needs a python3.13'; exit 2; }
	@$(VENV)/bin/uv venv --quiet --clear --python '$(PYTHON_LAMBDA)' .venv-emulator
	@$(VENV)/bin/uv pip sync --quiet --require-hashes --python .venv-emulator/bin/python requirements/emulator.txt
	@touch $@

emulator: $(BUILD)/.ready .venv-emulator/.ready ## deploy the stack to an emulator of AWS on this machine, and ask it for bars
	@SAM_CLI_TELEMETRY=0 $(PY) -m dev.emulator --emulator '$(CURDIR)/.venv-emulator/bin/ministack' --sam '$(SAM_LOCAL)'

IMAGE ?= bridge
push: ## push an image (IMAGE=bridge|stream|export|strategies) to the repository of ENV's stack (REPOSITORY=its output RepositoryUri, StreamRepositoryUri, ExportRepositoryUri, StrategyRepositoryUri)
	@test -n '$(REPOSITORY)' || { echo 'push: say REPOSITORY=, an output of the stack: RepositoryUri, StreamRepositoryUri, ExportRepositoryUri or StrategyRepositoryUri'; exit 2; }
	$(DOCKER) tag nautilus-$(IMAGE):$(TAG) '$(REPOSITORY):$(TAG)'
	$(DOCKER) push '$(REPOSITORY):$(TAG)'

# ---- test --------------------------------------------------------------------------------------------------------
TESTS ?= tests
# The tests of built functions need a build (half a minute the first time, then only when sources changed), and a
# python3.13 to run it: without one they are skipped and say so.
BUILT_TESTS = $(if $(PYTHON_LAMBDA),$(if $(filter tests tests/ tests/lambda%,$(TESTS)),$(BUILD)/.ready .venv-lambda/.ready))
STRATEGY_TESTS = $(if $(STRATEGY_PYTHON),$(if $(filter tests tests/ tests/unit% tests/integration%,$(TESTS)),.venv-strategies/.ready))
# The export task writes what these tests read, and the client downloads.
EXPORT_TESTS = $(if $(filter tests tests/ tests/integration tests/integration/ tests/integration/exports% tests/integration/client%,$(TESTS)),.venv-exports/.ready)
# The walk of the old front end's tests is in Chromium, where the system has it.
FRONT_END_TESTS = $(if $(wildcard $(or $(CHROMIUM),/usr/bin/chromium)),$(if $(filter tests tests/ tests/e2e%,$(TESTS)),.venv-front-end/.ready))
# Most tests wait for processes more than they compute, so that two cores are busy with three of them; a worker has files in
# their order, so that what a module starts is started once.
PYTEST := $(PY) -m pytest -n 3 --dist worksteal -q
test: $(VENV)/.ready $(BUILT_TESTS) $(STRATEGY_TESTS) $(EXPORT_TESTS) $(FRONT_END_TESTS) ## every test that needs no Docker, but for those of `make check`
	$(PYTEST) $(if $(filter tests tests/,$(TESTS)),--ignore=tests/contract) $(TESTS)

test-again: $(VENV)/.ready ## the tests that failed last, once more: one after the other, with the machine to themselves
	$(PY) -m pytest -q --last-failed --last-failed-no-failures none $(TESTS)

# The bridge's own tests with ib_async in ib_insync's place.
.venv-ib-async/.ready: requirements/ib-async.txt | $(VENV)/.uv
	@$(VENV)/bin/uv venv --quiet --clear --python $(PYTHON) .venv-ib-async
	@$(VENV)/bin/uv pip sync --quiet --require-hashes --python .venv-ib-async/bin/python requirements/ib-async.txt
	@touch $@

BRIDGE_TESTS := tests/integration/backfill/test_backfill.py tests/integration/backfill/test_empty_rechecks.py tests/integration/backfill/test_fault_injection.py \
	tests/integration/backfill/test_known_complaints.py tests/e2e/test_crashes.py \
	tests/unit/ib_bridge/test_tap.py tests/unit/ib_bridge/test_order_rules.py tests/integration/orders/test_process.py tests/integration/orders/test_process_crashes.py \
	tests/integration/orders/test_process_faults.py tests/integration/orders/test_process_logins.py tests/integration/orders/test_process_broker.py \
	tests/integration/orders/test_process_restarts.py tests/integration/orders/test_process_exits.py tests/integration/orders/test_process_twins.py tests/integration/orders/test_process_api.py
test-ib-async: .venv-ib-async/.ready ## the bridge's tests with ib_async in place of ib_insync
	.venv-ib-async/bin/python -m pytest -n 3 --dist worksteal -q $(BRIDGE_TESTS)

conformance: $(VENV)/.ready ## the simulator against five real TWS clients, each in an environment of its own
	$(MAKE) --no-print-directory -C tests/conformance

CHAOS_KILLS ?= 100
chaos: $(VENV)/.ready ## kill the bridge CHAOS_KILLS times in a backfill, and everything else now and then (some minutes)
	CHAOS_KILLS=$(CHAOS_KILLS) $(PY) -m pytest -q -s tests/e2e/test_chaos.py

DAYS ?= 5
SEED ?= 7
live-week: $(VENV)/.ready ## live data through DAYS trading days of every fault (5; SEED=7), then beside history (half an hour)
	LIVE_WEEK_DAYS=$(DAYS) LIVE_WEEK_SEED=$(SEED) $(PY) -m pytest -q -s tests/e2e/test_live_week.py

# SEED decides everything of a run; without one it is drawn, and printed.
ORDERS ?= 300
KILLS ?= 100
chaos-orders: $(VENV)/.ready ## kill everything around ORDERS orders KILLS times (300, 100; SEED=), then beside the simulator's book (half an hour)
	CHAOS_ORDERS=$(ORDERS) CHAOS_ORDERS_KILLS=$(KILLS) CHAOS_ORDERS_SEED=$(if $(filter file,$(origin SEED)),0,$(SEED)) \
		$(PY) -m pytest -q -s tests/e2e/test_chaos_orders.py

DAY_ORDERS ?= 200
DAY_KILLS ?= 30
DAY_NIGHTS ?= 0
# Chromium comes from the system; playwright alone would install another one.
.venv-front-end/.ready: requirements/front-end.txt | $(VENV)/.uv
	@$(VENV)/bin/uv venv --quiet --clear --python $(PYTHON) .venv-front-end
	@$(VENV)/bin/uv pip sync --quiet --require-hashes --python .venv-front-end/bin/python requirements/front-end.txt
	@touch $@

front-end: $(if $(DIST),$(shell test -f '$(DIST)/index.html' && echo $(VENV)/.ready .venv-front-end/.ready)) ## walk a built copy of the old front end in Chromium (DIST=folder, PORT=8001, CHROMIUM=/usr/bin/chromium)
	@test -n '$(DIST)' || { echo 'make front-end: say DIST=folder, a built copy of the old front end with its index.html'; exit 2; }
	@test -f '$(DIST)/index.html' || { echo "make front-end: there is no index.html in '$(DIST)'; build the front end, and name the folder that it makes"; exit 2; }
	@$(PY) -m dev.front_end '$(DIST)' $(if $(PORT),--port '$(PORT)') $(if $(CHROMIUM),--chromium '$(CHROMIUM)')

portfolio-day: $(VENV)/.ready ## a trading day of DAY_ORDERS orders and every fault (200, DAY_KILLS=30, DAY_NIGHTS=4 for a week; SEED=), then our book beside the simulator's
	PORTFOLIO_DAY_ORDERS=$(DAY_ORDERS) PORTFOLIO_DAY_KILLS=$(DAY_KILLS) PORTFOLIO_DAY_NIGHTS=$(DAY_NIGHTS) PORTFOLIO_DAY_SEED=$(if $(filter file,$(origin SEED)),0,$(SEED)) \
		$(PY) -m pytest -q -s tests/e2e/test_portfolio_day.py

# Needs the environment of strategies; without it the days are skipped.
parity: $(VENV)/.ready ## a live day of MINUTES minutes (386) beside paper and the back-test of its bars, then one with everything killed (half an hour)
	PARITY_MINUTES=$(or $(MINUTES),386) $(PY) -m pytest -q -s -rs tests/e2e/test_parity.py

watch: $(VENV)/.ready ## watch a backfill through injected faults, as a front end sees it (a minute)
	WATCH_FROM=2026-02-02 $(PY) -m pytest -q -s tests/e2e/test_watched.py

bench: build client .venv-strategies/.ready ## measure: sign-in, cold starts, storage, backfills, reading, growth, hung neighbours, sockets, live bars, orders, imports of fills, strategies, the client (ratios of one run)
	$(PY) -m benchmarks.auth
	$(PY) -m benchmarks.cold_start
	$(PY) -m benchmarks.storage
	$(PY) -m benchmarks.backfill
	$(PY) -m benchmarks.reading
	$(if $(wildcard .venv-exports),$(PY) -m benchmarks.exports,@echo 'exports: no environment of the export task (make exports-environment)')
	$(PY) -m benchmarks.growth
	$(PY) -m benchmarks.neighbours
	$(PY) -m benchmarks.stream
	$(PY) -m benchmarks.live_lines
	$(PY) -m benchmarks.live_bars
	$(PY) -m benchmarks.orders
	$(PY) -m benchmarks.imports
	$(PY) -m benchmarks.strategies
	$(PY) -m benchmarks.live_strategies
	$(PY) -m benchmarks.client
	$(PY) -m benchmarks.frames

# The Python client, in an environment of its own: every library that its extras name, and what builds it.
.venv-client/.ready: requirements/python-client.txt | $(VENV)/.uv
	@$(VENV)/bin/uv venv --quiet --clear --python $(PYTHON) .venv-client
	@$(VENV)/bin/uv pip sync --quiet --require-hashes --python .venv-client/bin/python requirements/python-client.txt
	@touch $@

CLIENT := clients/python
CLIENT_SOURCES := $(shell find $(CLIENT) -name __pycache__ -prune -o -path $(CLIENT)/dist -prune -o -type f -print)
.venv-client/.installed: .venv-client/.ready $(CLIENT_SOURCES)
	@cd $(CLIENT) && PYTHONPATH=. ../../.venv-client/bin/python generate.py --check
	@rm -rf $(CLIENT)/dist
	@cd $(CLIENT) && PYTHONPATH= ../../.venv-client/bin/python -m build --no-isolation --outdir dist . >dist.log 2>&1 || { cat dist.log; exit 1; }
	@rm -f $(CLIENT)/dist.log
	@$(VENV)/bin/uv pip install --quiet --no-deps --offline --reinstall --python .venv-client/bin/python $(CLIENT)/dist/*.whl
	@touch $@

client: .venv-client/.installed ## build wheel and sdist of the Python client (clients/python/dist), and install the wheel in .venv-client
	@ls $(CLIENT)/dist

# The client's unit tests need no conftest of ours, and of the server only its clock.
CLIENT_PYTHONS ?= 3.11 3.12 3.13
client-pythons: .venv-client/.installed ## the client's unit tests with its wheel under each Python of CLIENT_PYTHONS that is here (3.11 3.12 3.13)
	@set -e; for version in $(CLIENT_PYTHONS); do \
		python=$$(for p in "$$HOME"/.pyenv/versions/$$version.*/bin/python$$version python$$version; do \
			"$$p" -c 'import sys; sys.stdout.write(sys.executable)' 2>/dev/null && break; done || true); \
		test -n "$$python" || { echo "python$$version is not here"; continue; }; \
		home=.venv-client-$$version; \
		$(VENV)/bin/uv venv --quiet --clear --python "$$python" $$home; \
		$(VENV)/bin/uv pip sync --quiet --require-hashes --python $$home/bin/python requirements/client-tests.txt; \
		$(VENV)/bin/uv pip install --quiet --no-deps --offline --python $$home/bin/python $(CLIENT)/dist/*.whl; \
		$$home/bin/nautilus --help >/dev/null; \
		echo "python$$version"; \
		PYTHONPATH=$(CURDIR)/layers/shared $$home/bin/python -m pytest -q -c /dev/null --rootdir . --noconftest \
			--import-mode=importlib -p no:cacheprovider -W error tests/unit/client; \
	done

check: $(VENV)/.ready ## format, lint, types, contract tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(PY) -m pytest -n 2 -q tests/contract

format: $(VENV)/.ready ## let ruff format and mend what it can
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

.PHONY: help setup requirements lake exports-environment demo orders-show live-show strategies-show up admin migrate verify backup restore forget clean test test-again test-ib-async chaos chaos-orders front-end portfolio-day parity live-week watch \
	conformance check client client-pythons format build lint-template deploy logs image containers sam-local emulator push bench
