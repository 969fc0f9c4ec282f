# Needs Python 3.11+ and make. `make up` runs the whole system here; `make test` tests it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
ARGS ?=
# Tests wait more than they compute; each worker has a Kafka and a PostgreSQL of its own, about 1 GB. A test that fails is run
# once more, and told as R: what fails once on a busy machine is a defect to mend, not a reason to begin anew.
WORKERS ?= 2
# What is compiled once need not be compiled by each worker of each run.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup up down reset test test-long test-opensearch drills test-fast check lint generate generated bench load lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo 'cvhub: needs Python 3.11 or newer: install one, or name it with `make PYTHON=/path/to/python3.12 up`.'; exit 1; }
	@$(PYTHON) tools/setup.py

up: setup ## run everything and walk through the main job; ONCE=1 stops after the walk, ARGS="--citizens 1000"
	@$(BIN)/cvhub up $(if $(ONCE),--once) $(ARGS)

down: setup ## stop what `make up` started; the data stay
	@$(BIN)/cvhub down

reset: setup ## wipe the local data, after asking
	@$(BIN)/cvhub reset

test: setup ## all tests, against a real Kafka and PostgreSQL
	@$(BIN)/pytest -m "not long and not opensearch" -n $(WORKERS) --reruns 1 $(ARGS)

test-long: setup ## full counts
	@$(BIN)/pytest -m "long and not opensearch" $(ARGS)

test-opensearch: setup ## what every search engine promises, of a real OpenSearch
	@$(BIN)/pytest -m opensearch services/cv-search $(ARGS)

drills: setup ## break the whole system under load in every way; ONLY=name,name runs some; writes docs/drills.md
	@$(BIN)/python -m tests.drills $(ONLY)

test-fast: setup ## tests without servers, in under 20 s
	@$(BIN)/pytest -m "not infra and not slow and not long and not opensearch" --ignore=tests/e2e -n $(WORKERS) $(ARGS)

lint: setup ## ruff, mypy --strict, import boundaries
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@for part in libs/* services/* tools tests bench; do $(BIN)/mypy --no-error-summary $$part || exit 1; done
	@$(BIN)/lint-imports

generate: setup ## write the generated schemas and documents anew
	@$(BIN)/python -m cv_contracts generate
	@$(BIN)/python -m cv_gateway openapi
	@$(BIN)/python tools/settings_reference.py
	@$(BIN)/python tools/conformance.py

generated: setup
	@$(BIN)/python -m cv_contracts generate --check
	@$(BIN)/python -m cv_gateway openapi --check
	@$(BIN)/python tools/settings_reference.py --check
	@$(BIN)/python tools/conformance.py --check

check: lint generated test ## what CI runs: lint, generated files current, tests

bench: setup ## measure against the goals, beside peers that it installs; writes build/bench.json
	@$(BIN)/uv pip install --quiet --group bench
	@$(BIN)/python -m bench $(ARGS)

load: setup ## one of each service under load for ten minutes, then under three times the load; short: ARGS="--seconds 60 --citizens 10000"
	@$(BIN)/python -m bench.whole $(ARGS)

lock: setup ## recompile requirements.lock from the pyproject files
	@$(BIN)/python tools/lock.py

clean: ## remove what was built, the environment too; local data stay (see reset)
	@rm -rf .venv .venv.lock build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
