# Every target creates the environment that it needs; nothing has to be installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.bench-installed

.PHONY: start test lint bench bench-short generate clean

$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m compileall -q engine rules
	touch $(STAMP)

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	touch $(BENCH_STAMP)

start: $(STAMP)
	$(BIN)/compozy start

test: $(STAMP)
	$(BIN)/python -m pytest -n 3 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(BENCH_STAMP)
	$(BIN)/python -m compileall -q engine rules
	$(BIN)/python -m benchmarks

bench-short: $(BENCH_STAMP)
	$(BIN)/python -m compileall -q engine rules
	$(BIN)/python -m benchmarks --short

generate: $(STAMP)
	$(BIN)/python -m compozy.generate

clean:
	rm -rf $(VENV) build dist engine/*.egg-info
