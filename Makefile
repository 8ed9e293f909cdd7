# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
# Each sets up .venv first; the second time that takes a moment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_OUTPUT ?= runs/demo
# A worker for each core, each test file on one of them, the slow ones first; the tests themselves run on one thread.
PYTEST_ARGUMENTS ?= -n auto --dist loadfile --no-loadscope-reorder

# Threads that spin while they wait slow each other down where cores are few.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help setup demo docs test lint types unit format clean

help:
	@echo "make demo    train and compare three small models on embedded text; prints a table and the report's path"
	@echo "make test    lint, types and all tests"
	@echo "make docs    the documentation as a web site in site/"
	@echo "make setup   only the environment in $(VENV)"
	@echo "make lint | types | unit | format    the single steps"
	@echo "make clean   remove the environment and caches (runs/ stays)"

setup: $(STAMP)

# torch first and by its pinned version, so that nothing else chooses another build of it.
$(STAMP): pyproject.toml constraints.txt Makefile
	@echo "== setting up $(VENV) (a few minutes the first time) =="
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lmzoo needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) could not make an environment with pip in it. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,eval,ray,docs,notebooks]'
	@touch $(STAMP)
	@echo "== $(VENV) is ready =="

docs: setup
	@echo "== documentation (mkdocs, strict) =="
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

demo: setup
	@echo "== comparing rotary, complex and softplus attention on embedded text (a few minutes) =="
	@$(BIN)/lmzoo compare configs/compare/demo.yaml --output $(DEMO_OUTPUT)

test: setup lint types unit

lint: setup
	@echo "== lint (ruff) =="
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

# Type checkers look a package up by its folder's name; the link gives the repository the name it has when installed.
types: setup
	@echo "== types (mypy, strict) =="
	@mkdir -p .typing && ln -sfn .. .typing/lmzoo
	@MYPYPATH=.typing $(BIN)/mypy -p lmzoo

unit: setup
	@echo "== tests (pytest) =="
	@$(BIN)/python -m pytest $(PYTEST_ARGUMENTS)

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .typing .mypy_cache .ruff_cache .pytest_cache build *.egg-info
