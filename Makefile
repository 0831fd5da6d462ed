# Two commands to know: `make demo` and `make test`. `make` alone lists them all.
#
# PYTHON       the interpreter that creates the environment (3.11 or newer)
# VENV         where the environment lives
# PIP_ARGS     extra words for pip, for example another wheel index
# PYTEST_ARGS  extra words for pytest
# PROCESSES    how many tests run at once; 0: one after the other in pytest's own process (for --pdb and -s)

VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_ARGS ?=
PYTEST_ARGS ?=
PROCESSES ?= 2
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev
# Half of the tests wait for services, the others compute: two at once keep two cores busy. One thread each, because
# the problems are small, and threads that wait actively would take the other's core.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo serve test test-slow lint format test-deploy clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A broken or missing environment is made anew; one without pip says how to get it.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "equimol needs Python 3.11 or newer; install it, or pass PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "equimol needs Python 3.11 or newer, and $(PYTHON) is older; pass PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot create environments. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

# RDKit draws with two X libraries that a bare server lacks; without them all works except the drawings.
define DRAWING
	@$(BIN)/python -c 'from rdkit.Chem.Draw import rdMolDraw2D' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends libxrender1 libxext6 >/dev/null; \
	  else \
	    echo "no drawings on this machine; to have them: sudo apt install libxrender1 libxext6" >&2; \
	  fi; }
endef

# The stamps make the installation happen again only when the requirements change.
$(RUN_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) -c constraints.txt -e '.[worker,embedded]'
	$(DRAWING)
	@touch $@

$(DEV_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) -c constraints.txt -e '.[worker,embedded,train,xtb,quality,dev]'
	$(DRAWING)
	@touch $@ $(RUN_STAMP)

install: $(RUN_STAMP) ## create the environment that serves

install-dev: $(DEV_STAMP) ## create the environment that also trains and tests

demo: $(RUN_STAMP) ## start the service, sample 16 molecules, score them, write out/, stop
	$(BIN)/equimol demo --out out

serve: $(RUN_STAMP) ## keep the service running on http://127.0.0.1:8000
	$(BIN)/equimol serve

test: $(DEV_STAMP) ## run the tests (without those marked slow)
	$(PYTEST) $(PYTEST_ARGS)

test-slow: $(DEV_STAMP) ## run all tests
	$(PYTEST) --slow $(PYTEST_ARGS)

lint: $(DEV_STAMP) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV_STAMP) ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-deploy: $(DEV_STAMP) ## build and run the composed system, kill parts of it, and check that no job is lost
	$(BIN)/python -m pytest -m deploy --slow $(PYTEST_ARGS) tests/deploy

clean: ## remove the environment and what the demo wrote
	rm -rf $(VENV) out
