# Two commands are all that a newcomer needs: `make demo` and `make test`.
# Both set up .venv by themselves. `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help install demo test lint types unit docs pii-probes peers clean

help:            ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

install: $(STAMP) ## make .venv with pinned versions

# torch goes first and alone: with 2.13.0 in place nothing pulls another build of it.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: install    ## scrub a page of English and Japanese text and show what the probe saw
	$(BIN)/python demo/scrub.py

test: install lint types unit ## lint, types and tests

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

unit: install
	$(BIN)/pytest

docs: install    ## build the documentation into docs/_build
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build

pii-probes: install ## make the shipped PII probes and their cards again (synthetic data only)
	$(BIN)/python -m recipes.pii.build

clean:           ## remove .venv and caches
	rm -rf $(VENV) .peers .mypy_cache .ruff_cache .pytest_cache docs/_build
