# Everything a fresh machine needs is done by the first target that asks for it.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
export OMP_WAIT_POLICY ?= passive
export MPLBACKEND ?= Agg
COVERED := src/regard/core/*,src/regard/io/*,src/regard/explain.py,src/regard/explainers/*,src/regard/evidence/*

.PHONY: setup demo test test-fast test-slow test-cuda fuzz realdata lint types docs notebooks coverage clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet -c constraints.txt -e '.[studies,scale,dicom,nrrd,captum,xarray,onnx,test,docs]'
	touch $@

demo: setup
	$(RUN)/regard demo -o regard-demo --overwrite

# Two workers with a thread each, coverage of the layers that hold the mathematics, the slowest tests at the end.
test: setup lint types
	rm -f .coverage*
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n 2 --dist worksteal --durations=15 -m 'not slow' --cov --cov-report= tests --ignore=tests/realdata
	$(RUN)/python -m coverage report --include='$(COVERED)' --fail-under=90 --skip-covered

test-fast: setup
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n 2 --dist worksteal -m 'not slow and not browser' tests --ignore=tests/realdata

# Processes that are killed, trainings that have to learn, full-size networks: half an hour.
test-slow: setup
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n 2 --dist worksteal --durations=15 -m slow tests --ignore=tests/realdata

test-cuda: setup
	$(RUN)/python -m pytest -m cuda tests

# Mutated files for every reader, each read in a process with limits: make fuzz FILES=20000 SEED=0 (some minutes).
FILES ?= 20000
SEED ?= 0
fuzz: setup
	OMP_NUM_THREADS=1 $(RUN)/python tests/fuzz/fuzz_driver.py --files $(FILES) --seed $(SEED)

# On real images and real weights: make realdata REGARD_DATA=DIR (no default; with it set, a skip is a failure).
realdata: setup
	@test -n "$(REGARD_DATA)" || { echo "make realdata: no data folder; expected REGARD_DATA=DIR; give the folder of real images" >&2; exit 2; }
	REGARD_DATA="$(abspath $(REGARD_DATA))" $(RUN)/python -m pytest --durations=10 tests/realdata

lint: setup
	$(RUN)/ruff check src tests docs benchmarks
	$(RUN)/ruff format --check src tests docs benchmarks
	$(RUN)/lint-imports --no-cache

types: setup
	$(RUN)/mypy

notebooks: setup
	OMP_NUM_THREADS=1 $(RUN)/python docs/executed.py

docs: setup
	$(RUN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

clean:
	rm -rf $(VENV) docs/_build regard-demo .coverage* .mypy_cache .pytest_cache .ruff_cache
