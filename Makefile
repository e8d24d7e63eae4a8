# Two commands for a new machine: `make demo` and `make test`. Each makes its own virtual environment.
# Needs Python 3.11 or newer with venv, pip and make.

PYTHON ?= python3
RUN_ENV := .venv
DEV_ENV := .venv-dev
CONSTRAINTS := constraints.txt
PIP_INSTALL := pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable
DEMO_ARGS ?=

.PHONY: demo test test-slow lint format clean help

help:
	@echo "make demo   install into $(RUN_ENV) and run the whole way on a toy task (DEMO_ARGS='--seed 1')"
	@echo "make test   install into $(DEV_ENV) and run the fast tests (slow suites: make test-slow)"
	@echo "make lint   ruff and mypy --strict"

$(RUN_ENV)/.installed: pyproject.toml $(CONSTRAINTS)
	@echo "Making $(RUN_ENV): the toolkit with the trainer (some minutes the first time)"
	$(PYTHON) -m venv $(RUN_ENV)
	$(RUN_ENV)/bin/python -m $(PIP_INSTALL) '.[train]'
	@touch $@

$(DEV_ENV)/.installed: pyproject.toml $(CONSTRAINTS)
	@echo "Making $(DEV_ENV): the toolkit with its test tools (some minutes the first time)"
	$(PYTHON) -m venv $(DEV_ENV)
	$(DEV_ENV)/bin/python -m $(PIP_INSTALL) '.[train,lora,semantic,docker,dev]'
	@touch $@

demo: $(RUN_ENV)/.installed
	$(RUN_ENV)/bin/rlvr demo $(DEMO_ARGS)
	@echo "(for the commands above: . $(RUN_ENV)/bin/activate)"

test: $(DEV_ENV)/.installed
	OMP_NUM_THREADS=1 $(DEV_ENV)/bin/python -m pytest -q -n 2 --dist loadfile -m "not slow and not vllm and not docker and not ray and not distributed"

test-slow: $(DEV_ENV)/.installed
	OMP_NUM_THREADS=1 $(DEV_ENV)/bin/python -m pytest -q -m "(slow or distributed) and not vllm and not docker and not ray"

lint: $(DEV_ENV)/.installed
	$(DEV_ENV)/bin/ruff check .
	$(DEV_ENV)/bin/ruff format --check .
	$(DEV_ENV)/bin/mypy

format: $(DEV_ENV)/.installed
	$(DEV_ENV)/bin/ruff check --fix .
	$(DEV_ENV)/bin/ruff format .

clean:
	rm -rf $(RUN_ENV) $(DEV_ENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
