# `make help` lists what there is. Every goal sets up what it needs first (scripts/setup) and skips what is done.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The interpreter to build .venv with; by default the first of python3, python3.14 … python3.11 that is new enough.
PYTHON ?=
# Tests at a time.
WORKERS ?= 2
# A video for `make demo`; by default a clip of Big Buck Bunny.
FILE ?=
# `make demo SERVE=1` goes on serving the result until Ctrl-C.
SERVE ?=
# What to pass on to pytest or to the command, e.g. `make unit ARGS='-k ladder -x'`.
ARGS ?=

export PYTHON
export PYTHONSAFEPATH = 1

BIN := .venv/bin
CLIP := $(CURDIR)/.cache/clips/bigbuckbunny.mp4
WITH_CLIP := if [ -s "$(CLIP)" ]; then export VPROC_DEMO_CLIP="$(CLIP)"; fi;
SETUP_DEMO := @scripts/setup demo
SETUP_TEST := @scripts/setup test
SETUP_DOCS := @scripts/setup docs
SETUP_RELEASE := @scripts/setup release
QUICK := tests/core tests/golden tests/workers tests/api tests/house $(wildcard tests/test_*.py)
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

.PHONY: help demo dev test lint types unit chaos boots bench soak docs binary dist audit format lock setup clean

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## the main job from upload to playable outputs; FILE=path for your own video, SERVE=1 to watch the result
	$(SETUP_DEMO)
	@$(WITH_CLIP) exec $(BIN)/vproc demo $(if $(SERVE),--serve) $(ARGS) $(if $(FILE),"$(FILE)")

dev: ## the daemon with its own S3 and SQS on http://127.0.0.1:8080, until Ctrl-C
	$(SETUP_DEMO)
	@exec $(BIN)/vproc dev $(ARGS)

test: ## everything that must hold: format, lint, import rules, types, the whole test suite
	$(SETUP_TEST)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	@$(BIN)/python -m tests.support.lines
	@$(WITH_CLIP) exec $(BIN)/pytest -n $(WORKERS) --dist loadgroup $(ARGS)

lint: ## format, lint and import rules
	$(SETUP_TEST)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: ## mypy, strict
	$(SETUP_TEST)
	$(BIN)/mypy

unit: ## the quick tests: nothing outside this process but ffmpeg
	$(SETUP_TEST)
	$(BIN)/pytest -q -n $(WORKERS) $(wildcard $(QUICK)) $(ARGS)

chaos: ## the tests of faults, at length: every fault at every request, and whatever the API can be asked
	$(SETUP_TEST)
	VPROC_TEST_CHAOS=1 $(BIN)/pytest -q -n $(WORKERS) --timeout 7200 tests/faults tests/e2e/test_described.py $(ARGS)

boots: ## the image in a container engine, the service in a systemd of its own, the one file, the wheel: as root, minutes
	$(SETUP_TEST)
	@scripts/setup boots
	VPROC_TEST_BOOTS=1 $(BIN)/pytest -q --timeout 1800 tests/boots $(ARGS)

bench: ## measurements: see bench/
	$(SETUP_TEST)
	$(BIN)/python -m bench $(ARGS)

soak: ## ten thousand small jobs through three daemons over one PostgreSQL, a kill every minute: a quarter of an hour; ARGS='--jobs 300 --kill-every 10'
	$(SETUP_TEST)
	$(BIN)/python -m bench.soak $(ARGS)

docs: ## the documentation as a site in dist/site; a link that leads nowhere is an error
	$(SETUP_DOCS)
	@rm -rf dist/site
	.venv-docs/bin/sphinx-build -q -n -W --keep-going -c docs -d .cache/docs -b html . dist/site $(ARGS)
	@echo dist/site/index.html

binary: ## dist/vproc: one file that runs on machines without Python
	$(SETUP_RELEASE)
	@.venv-release/bin/python scripts/build-binary

dist: ## the wheel and the sdist in dist/, looked into before they land there
	$(SETUP_RELEASE)
	@.venv-release/bin/python scripts/build-dist

audit: ## what is known against the pinned packages; says so where it cannot be asked
	$(SETUP_RELEASE)
	@.venv-release/bin/python scripts/audit

format: ## format the code and mend what the linter can mend by itself
	$(SETUP_TEST)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## renew the lock files from pyproject.toml (needs uv); ARGS=--upgrade for newer versions
	$(LOCK) $(ARGS) --extra dev --extra ffmpeg --extra postgres --group build -o requirements.lock pyproject.toml
	$(LOCK) $(ARGS) --extra dev --extra ffmpeg --extra postgres --extra otel --group build --group test --group lint -c requirements.lock -o requirements-test.lock pyproject.toml
	$(LOCK) $(ARGS) --group docs -o requirements-docs.lock
	$(LOCK) $(ARGS) --group cloud -o bench/cloud.lock
	$(LOCK) $(ARGS) --group release --group build -c requirements.lock -o requirements-release.lock

setup: ## what `make test` needs, and no more
	$(SETUP_TEST)

clean: ## remove what set-up, tests and the demo made in this folder
	rm -rf .venv .venv-docs .venv-release .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo-output dist tests/e2e/playback/node_modules tests/e2e/uppy/v*/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
