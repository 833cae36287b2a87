# carbon-router: `make serve` and `make test` are all a newcomer needs; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# PyTorch's own index of CPU builds: without an NVIDIA GPU it saves several gigabytes of CUDA libraries. Where it
# cannot be reached, pip takes what its configured index has. `make TORCH_INDEX= ...` skips the attempt.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := $(shell sed -n 's/^  "\(torch==[^"]*\)".*/\1/p' pyproject.toml)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := $(BIN)/python -m pip install --quiet

.PHONY: help serve setup setup-dev weights bench measurements check format test test-live clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

serve: setup  ## set up what is missing, then serve on http://127.0.0.1:8000
	@$(BIN)/carbon-router serve

# What `bench run` shall do otherwise: `make bench ARGS=--remeasure` measures what was shipped anew, too (hours).
ARGS ?=
bench: setup  ## measure on this machine what no measurement covers, then put it into the store
	@rows="$${ROUTER_DATA_DIR:-.data}/measurements/local.jsonl"; status=0; \
	$(BIN)/python -m bench run $(ARGS) || status=$$?; \
	if [ -s "$$rows" ]; then $(BIN)/carbon-router store import --origin local "$$rows"; fi; \
	exit $$status  # a model that could not be measured must not keep the others' rows out of the store

measurements: setup  ## measure the shipped prompts anew on this machine and put them into the package (hours; resumable)
	@$(BIN)/python -m bench run --remeasure --output .data/measurements/shipped.jsonl
	@$(BIN)/python -m bench ship .data/measurements/shipped.jsonl

setup: $(VENV)/.serve  ## create the environment and install what serving and measuring need

setup-dev: $(VENV)/.dev  ## also install what the checks need

weights: setup  ## fetch the weights of every model in models.yaml that the embedded engine serves
	@$(BIN)/carbon-router models pull

check: setup-dev  ## format, lint, types, import contracts, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest

test: setup-dev  ## set up, fetch the smallest model, then check
	@$(BIN)/carbon-router models pull smollm2:135m
	@$(MAKE) --no-print-directory check

test-live: setup-dev  ## the tests that need all weights, a real Ollama and other heavy parts
	@$(BIN)/carbon-router models pull
	$(BIN)/pytest -m live --timeout 900

format: setup-dev  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the environment and caches; weights and measurements stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "carbon-router needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "creating the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "no environment could be made; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.torch: pyproject.toml | $(BIN)/python
	@if $(BIN)/python -c 'import importlib.metadata as m, sys; sys.exit("torch==" + m.version("torch").split("+")[0] != "$(TORCH)")' 2>/dev/null; then :; \
	elif ! command -v nvidia-smi >/dev/null && [ -n "$(TORCH_INDEX)" ] && $(BIN)/python -c 'import urllib.request as u; u.urlopen("$(TORCH_INDEX)/", timeout=3)' 2>/dev/null; then \
	  echo "installing $(TORCH) (CPU build, about 200 MB)"; $(PIP) --index-url $(TORCH_INDEX) "$(TORCH)"; \
	else \
	  echo "installing $(TORCH) from pip's own index (without a CPU build there, this can take several GB)"; $(PIP) "$(TORCH)"; \
	fi
	@touch $@

$(VENV)/.serve: pyproject.toml | $(VENV)/.torch
	@echo "installing carbon-router and what it needs (about a minute)"
	@$(PIP) --editable '.[bench]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.serve
	@echo "installing what the checks need"
	@$(PIP) --editable '.[bench,dev]'
	@touch $@
