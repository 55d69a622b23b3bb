# Two commands matter: `make run` and `make test`. Everything installs itself into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python
UV     := $(BIN)/uv pip install --quiet --python $(PY)

.PHONY: run demo install install-dev test check bench drill clean help

run: install            ## start the poller and the dashboard (the sample organization when nothing is configured)
	@exec $(PY) -m monitor up $(if $(PORT),--port $(PORT))

demo: install           ## start with the sample organization, whatever is configured
	@exec $(PY) -m monitor up --demo $(if $(PORT),--port $(PORT))

install: $(VENV)/.run   ## create .venv with what running needs

install-dev: $(VENV)/.dev

test: $(VENV)/.dev      ## run every test; installs what they need, a browser included
	@sh tests/browser/install.sh
	@$(PY) -m pytest -n auto --dist loadfile

check: $(VENV)/.dev     ## lint, types, import rules
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.dev     ## measure; one JSON line a figure
	@sh tests/browser/install.sh
	@$(PY) -m tests.benchmarks

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }
	@$(PY) -m pip install --quiet --disable-pip-version-check uv==0.13.9

$(VENV)/.run: $(PY) requirements.txt
	@echo "Installing into $(VENV) …"
	@$(UV) -r requirements.txt && touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.txt
	@$(UV) -r requirements-dev.txt && touch $@

drill: $(VENV)/.dev     ## play every outage in simulated time; one JSON line a scenario
	@$(PY) -m tests.drill

clean:                  ## remove .venv and caches; never touches data/
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

help:                   ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*##/\t/'
