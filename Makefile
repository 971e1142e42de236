# Two commands: `make report` runs the pipeline, `make test` checks the code.
# Both create .venv with the pinned packages first, and again where the pins have changed.
# The project's own path, which may hold spaces and quotes, reaches shells by environment alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two makes at once would install into one .venv, or write the same artifacts.
ALONE := "$(PYTHON)" .ci/alone "$(MAKE)" --no-print-directory
export PATH := $(CURDIR)/$(BIN):$(PATH)
export TOKENIZERS_PARALLELISM := false
# DVC pickles its index; by default under /var/tmp, where others may write (reports/security.md).
export DVC_SITE_CACHE_DIR := $(CURDIR)/.dvc/tmp/site_cache

.PHONY: report report-alone test lint benchmark scale gpu faults study study-alone venv clean

report:
	@$(ALONE) report-alone

report-alone: $(STAMP)
	install -d -m 700 "$$DVC_SITE_CACHE_DIR"
	$(BIN)/python -m stages.checks
	$(BIN)/python -m dvc repro
	@echo "The report is in reports/results.html and results.md"

test: venv lint
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: venv
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

benchmark: venv
	$(BIN)/python -m benchmarks.fisher
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.processes
	$(BIN)/python -m benchmarks.grid

scale: venv
	$(BIN)/python -m benchmarks.scale

gpu: venv
	$(BIN)/python -m benchmarks.gpu

faults: venv
	$(BIN)/python -m benchmarks.faults.__main__
	$(BIN)/python -m benchmarks.faults.grid
	$(BIN)/python -m benchmarks.faults.hub

study:
	@$(ALONE) study-alone

study-alone: $(STAMP)
	install -d -m 700 "$$DVC_SITE_CACHE_DIR"
	$(BIN)/python -m dvc repro studies/criteria/dvc.yaml

venv:
	@$(ALONE) $(STAMP)

$(STAMP): constraints.txt pyproject.toml
	"$(PYTHON)" -c "import sys; sys.exit(sys.version_info < (3, 11) and 'fishpal needs Python 3.11 or newer: make PYTHON=python3.x')"
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python .ci/plots_template
	touch $@

clean:
	rm -rf $(VENV)
