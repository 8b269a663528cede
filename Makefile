# Everything a person or CI does with this repository. `make` lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-fast format lint types schema console screenshots wheel lab lab-down lab-bench bench-judge \
    bench-parsing bench-scale bench-overhead bench-reflex chaos prove conformance-vllm lock venv clean

# Airflow imports for 2.5 s with bytecode and for 4.5 s without.
unexport PYTHONDONTWRITEBYTECODE

PY := .venv/bin/python

help: ## List these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

demo: venv ## Rollouts in a local cluster, live; KIND=node|base-model|lora|night, ARGS=--exit ends by itself
	@$(PY) -m lab.demo --kind $(or $(KIND),base-model) $(ARGS)

test: venv ## The whole test suite; ARGS="-k route" runs a part of it
	@$(PY) -m tests $(ARGS)

test-fast: venv ## Only what needs neither Airflow nor the lab, in less than a minute
	@$(PY) -m tests --fast -q $(ARGS)

format: venv ## Put every file into its form; mends what style rules can mend
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

lint: venv types ## Style, format, types, direction of imports
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@PYTHONPATH=.:plugins $(dir $(PY))lint-imports

types: venv ## Only the types
	@$(PY) -m mypy --explicit-package-bases lab plugins dags docker bench tests

schema: venv ## Write docs/plan.schema.json anew
	@PYTHONPATH=plugins $(PY) -m inference_rollouts schema > docs/plan.schema.json

console: ## Build the console's bundle anew from console/ (needs Node.js); its tests first
	@cd console && npm ci --no-audit --no-fund --silent && npm run --silent types && npm test --silent && npm run --silent build

screenshots: venv ## Pictures of the console's pages in every state, in .screenshots/; the README's two (needs Node.js, Chromium)
	@PYTHONPATH=.:plugins $(PY) -m tests.support.console_pages .screenshots
	@PYTHONPATH=.:plugins $(PY) -m tests.support.console_pages --readme docs/pictures

wheel: venv ## The wheel and the source distribution, in dist/
	@$(PY) -m uv build --quiet --python $(PY) --no-build-isolation
	@ls -1 dist

lab: venv ## Start only the local cluster; see also `python -m lab --help`
	@$(PY) -m lab up $(ARGS)

lab-down: ## Stop the local cluster
	@$(PY) -m lab down $(ARGS)

lab-bench: venv ## How fast the lab's API server is, and how much memory it takes
	@$(PY) -m lab.apiserver.bench $(ARGS)

bench-judge: venv ## The judge against other rules on simulated traffic; writes docs/statistics.md
	@nice $(PY) -m bench.judge --write $(ARGS)

bench-parsing: venv ## What many plans cost Airflow, and the start of a rollback; writes docs/performance.md
	@nice $(PY) -m bench.parsing --write $(ARGS)

bench-scale: venv ## What watching 1 to 1,000 rollouts costs one process; writes docs/performance.md
	@nice $(PY) -m bench.scale --write $(ARGS)
	@nice $(PY) -m bench.scale.triggerer --write
	@nice $(PY) -m bench.scale.growth

prove: venv ## The laws of moving traffic under thousands of schedules, and that broken code breaks them
	@PYTHONPATH=plugins $(PY) -m tests.prove $(ARGS)

chaos: venv ## What becomes of rollouts when something dies: an hour or more; writes docs/chaos.md
	@PYTHONPATH=plugins $(PY) -m bench.chaos --write $(ARGS)

bench-overhead: venv ## What a rollout takes beside its waits, in the lab; writes docs/performance.md
	@PYTHONPATH=plugins $(PY) -m bench.overhead --write $(ARGS)

bench-reflex: venv ## How fast a bad canary loses its traffic in the lab; writes docs/statistics.md
	@$(PY) -m bench.reflex --write $(ARGS)

conformance-vllm: venv ## The lab's model server against a real vLLM on this CPU (installs 3.5 GB); see docs/conformance.md
	@nice -n 19 $(PY) -m bench.conformance $(ARGS)

# The smaller files are parts of the first: production runs on what the tests ran on.
compile := $(PY) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
    --no-annotate --no-header
lock: venv ## Resolve the requirements*.txt anew from pyproject.toml
	@$(compile) --all-extras --group lab --group dev pyproject.toml -o requirements.txt
	@$(compile) --extra airflow --extra postgres -c requirements.txt pyproject.toml -o requirements-airflow.txt
	@$(compile) --group build -c requirements.txt -o requirements-build.txt

venv: .venv/installed ## Make .venv from the lock (quick when nothing changed)

clean: ## Remove what these targets made; stops the lab first
	@if [ -x $(PY) ]; then $(PY) -m lab down; fi
	rm -rf .venv .lab .airflow dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

find_python := for p in "$${PYTHON:-}" python3.13 python3.12 python3.11 python3; do \
    if [ -n "$$p" ] && "$$p" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
    then echo "$$p"; exit; fi; done; \
    echo "Python 3.11 or newer with venv is needed (Debian: apt-get install python3-venv); PYTHON=/path/to/it names one" >&2; exit 1

# uv comes from the lock as well; where it cannot reach the index pip does the same, slower.
.venv/installed: requirements.txt
	@python=$$($(find_python)); \
	echo "installing requirements.txt into .venv with $$($$python --version) (the first time takes a minute or two)"; \
	$(PY) -m pip --version >/dev/null 2>&1 || $$python -m venv --clear .venv; \
	uv=$$(mktemp); trap 'rm -f "$$uv"' EXIT; \
	sed -n '/^uv==/,/[^\\]$$/p' requirements.txt > "$$uv"; \
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r "$$uv"; \
	$(PY) -m uv pip install --quiet --python $(PY) --compile-bytecode --require-hashes -r requirements.txt \
	    || $(PY) -m pip install --quiet --disable-pip-version-check --compile --require-hashes -r requirements.txt
	@touch $@
