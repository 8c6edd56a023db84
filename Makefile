# The vocabulary of the project: make setup | fit | test | test-fast | fuzz | lint | types | unit | format | docs | benchmark | gpu | clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
CONFIG ?= configs/ml-100k/youtube_dnn_told_n.yaml

.PHONY: setup fit test test-fast fuzz lint types unit format docs benchmark gpu clean

setup: .venv/.ready

# torch first, alone and pinned: another package's open requirement would bring its newest build; then both
# distributions of this repository together, so that the one that the other needs is not looked for elsewhere
.venv/.ready: pyproject.toml serving/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ./serving -e '.[dev]'
	touch $@

fit: setup
	$(BIN)/croloss fit --config $(CONFIG)

test: lint types unit

# at least one test of every module, in under a minute
test-fast: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --fast

# many more damaged files for each reader than a plain run of the tests tries
FUZZ ?= 20
fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fuzz --fuzz $(FUZZ)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

unit: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.docs-ready
	$(BIN)/mkdocs build --strict

# what the site is built with, only where it is built
.venv/.docs-ready: .venv/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ./serving -e '.[docs]'
	touch $@

benchmark: setup
	$(BIN)/python -m benchmarks.speed

# what only a GPU can settle, with the interpreter at hand; DEVICE=cpu runs the same in small
DEVICE ?= cuda
MODE ?= all
gpu:
	PYTHON=$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) DEVICE=$(DEVICE) benchmarks/gpu/run.sh $(MODE)

clean:
	rm -rf .venv build dist runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
