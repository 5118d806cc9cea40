# Everything sets itself up: a virtual environment in .venv, then autoseg in editable mode.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test faults fuzz lint format clean

demo: .venv/installed
	$(BIN)/autoseg demo autoseg_demo

test: .venv/installed
	$(BIN)/python -m pytest tests

faults: .venv/installed  # hundreds of injected faults; about an hour
	$(BIN)/python -m pytest tests/faults --long

fuzz: .venv/installed  # three readers of strangers' bytes, five minutes each
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[fuzz]"
	for what in nifti bundle checkpoint; do $(BIN)/python tests/faults/fuzz.py $$what --minutes 5 || exit 1; done

lint: .venv/installed
	$(BIN)/ruff check autoseg planners tests benchmarks
	$(BIN)/ruff format --check autoseg planners tests benchmarks
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix autoseg planners tests benchmarks
	$(BIN)/ruff format autoseg planners tests benchmarks

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf .venv autoseg_demo
