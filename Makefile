# Two commands: `make report` runs the pipeline, `make test` checks the code.
# Both create .venv with the pinned packages first, and again where the pins have changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)
export TOKENIZERS_PARALLELISM := false

.PHONY: report test lint benchmark study clean

report: $(STAMP)
	$(BIN)/python -m stages.check_params
	$(BIN)/dvc repro
	@echo "The report is in reports/results.md"

test: $(STAMP) lint
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(STAMP)
	$(BIN)/python -m benchmarks.fisher

study: $(STAMP)
	cd studies/criteria && $(CURDIR)/$(BIN)/dvc repro

$(STAMP): constraints.txt pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'fishpal needs Python 3.11 or newer: make PYTHON=python3.x')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
