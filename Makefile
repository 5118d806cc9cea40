# Everything sets itself up: a virtual environment in .venv, then autoseg in editable mode.
PYTHON ?= python3
OLDEST_PYTHON ?= python3.10
BIN := .venv/bin
OLDEST := .venv-oldest
TESTS := -m pytest tests -n 2 --dist loadscope

.PHONY: demo test test-all oldest faults fuzz lint format clean

demo: .venv/installed
	$(BIN)/autoseg demo autoseg_demo

test: .venv/installed  # all but what is marked slow: five minutes on two slow cores
	$(BIN)/python $(TESTS) -m "not slow"

test-all: .venv/installed  # a quarter of an hour
	$(BIN)/python $(TESTS)

oldest: $(OLDEST)/installed  # `test` with the oldest Python and libraries that setup.cfg allows
	$(OLDEST)/bin/python $(TESTS) -m "not slow"

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
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,zoo]"
	touch $@

# Each lower bound of setup.cfg becomes the version itself. This torch brings CUDA: 6 GB. Without the extra `zoo`, whose
# MONAI needs a newer torch: its tests are skipped there and say so.
$(OLDEST)/installed: setup.cfg pyproject.toml
	$(OLDEST_PYTHON) -m venv $(OLDEST)
	sed -nE 's/^ +([A-Za-z0-9-]+)>=([0-9.]+)$$/\1==\2/p' setup.cfg > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/pip install --quiet --disable-pip-version-check -c $(OLDEST)/constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf .venv $(OLDEST) autoseg_demo
