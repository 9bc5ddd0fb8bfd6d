# The one interface to the tools. Needs make and Python 3.11 or newer; the rest lands in .venv.
# `make help` lists what there is.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Silence an advertisement; it is no warning about our pages.
export NO_MKDOCS_2_WARNING := 1
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --require-virtualenv
# The first interpreter that is new enough and can make an environment; `make PYTHON=...` overrules it.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	command -v $$p >/dev/null && $$p -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
# To test less: make test TESTS=tests/grid/rootio ARGS="-k merge -x"
TESTS ?= tests benchmarks
ARGS ?=
# A farm is several processes that are killed and waited for, so no more than two are tested at a time.
# Code 5: no test of this kind was chosen.
pytest = $(PY) -m pytest -m "$(1)" $(2) --durations=10 --durations-min=5 $(TESTS) $(ARGS) || [ $$? -eq 5 ]

.PHONY: help demo test test-long check bench docs hooks clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.run  ## make a sample, split and merge it on a small farm, kill a worker on the way, audit
	@$(PY) examples/demo.py

test: $(VENV)/.dev  ## every test but the slow ones, and each benchmark once at 1 % of its size
	$(call pytest,not slow and not farm,--numprocesses=logical --dist=loadfile)
	$(call pytest,not slow and farm,--numprocesses=2 --dist=loadfile)

test-long: $(VENV)/.dev  ## the slow tests too
	$(call pytest,not farm,--numprocesses=logical --dist=worksteal)
	$(call pytest,farm,--numprocesses=2 --dist=worksteal)

check: $(VENV)/.dev  ## style, types, import contracts, packaging, the docs with warnings as errors
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m codespell_lib $$(git ls-files)
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo --no-cache
	$(PY) -m repo_review .
	$(PY) -m mkdocs --quiet build --strict

# A part of them, smaller: MDCGRID_BENCH_SCALE=0.1 make bench ARGS="-k 'test_merge and nano'"
bench: $(VENV)/.dev  ## the benchmarks at full size, and the table of ratios that they give
	mkdir -p build
	MDCGRID_BENCH_SCALE=$${MDCGRID_BENCH_SCALE:-1.0} $(PY) -m pytest benchmarks --benchmark-enable --benchmark-only --timeout=0 \
		-o faulthandler_timeout=0 \
		--benchmark-json=build/benchmarks.json $(ARGS)
	$(PY) -m benchmarks.table build/benchmarks.json build/benchmarks.md

docs: $(VENV)/.dev  ## the documentation, into site/
	$(PY) -m mkdocs build --strict
	@echo "open site/index.html"

hooks: $(VENV)/.dev  ## run the checks before each commit
	$(PY) -m pre_commit install

clean:  ## forget everything that make made
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .benchmarks

# --- the environment: made once, again only when what goes in has changed -------------------------------------

$(VENV)/.venv:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer that can make environments was found." \
		"On Debian or Ubuntu: apt-get install python3-venv. Elsewhere: make PYTHON=/path/to/python3"; exit 1; }
	test -x $(PY) || "$(PYTHON)" -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt pip hatchling editables
	@touch $@

$(VENV)/.run: $(VENV)/.venv pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once; a few minutes at most) ..."
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable '.[plots]'
	$(PY) -c 'from kernels.warm import warm; warm()'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) install --quiet --constraint constraints.txt --group dev
	@touch $@
