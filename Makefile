# Needs only make, bash and Python 3.11 (another one: make PYTHON=/path/to/python); everything else lives in .venv.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: demo test faults lint types floors tests wheel-check clean

PYTHON ?= python3.11
VENV := .venv
STAMP := $(VENV)/.installed
WHEEL_CHECK := build/wheel-check
PACKAGES := runs students devices export predictor distill profiler nas tailorbird

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

demo: $(STAMP)
	profile-device --target cpu
	nas-search --budget-ms 15

test: lint types floors tests wheel-check

# Kills runs at many moments; takes minutes, so it is not part of `make test`.
faults: $(STAMP)
	python -m pytest -m faults

# Build tools come first and pinned like the rest; the package itself is then built with them instead of with whatever
# an isolated build would fetch.
$(STAMP): pyproject.toml constraints.txt
	@echo "building $(VENV): the first time this downloads about 1 GB"
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --constraint constraints.txt hatchling editables
	python -m pip install --constraint constraints.txt --no-build-isolation --editable '.[test]'
	touch $@

lint: $(STAMP)
	ruff check .
	ruff format --check .

types: $(STAMP)
	mypy
	mypy benchmarks

floors: $(STAMP)
	lint-imports

# Two at a time, whole files each, so that what a file's tests share is made once.
tests: $(STAMP)
	python -m pytest --numprocesses 2 --dist loadfile

# What users install is the wheel, not this folder: build it, install it beside .venv's libraries (whose own .pth files,
# our editable install among them, are not followed from here), and use it from a folder that holds none of our sources.
wheel-check: $(STAMP)
	rm -rf $(WHEEL_CHECK)
	python -m build --wheel --no-isolation --outdir $(WHEEL_CHECK)/dist
	python -m venv $(WHEEL_CHECK)/venv
	$(WHEEL_CHECK)/venv/bin/python -m pip install --quiet --no-index --no-deps $(WHEEL_CHECK)/dist/*.whl
	site() { "$$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }; \
	site $(CURDIR)/$(VENV) > "$$(site $(WHEEL_CHECK)/venv)/libraries.pth"
	mkdir $(WHEEL_CHECK)/elsewhere
	cd $(WHEEL_CHECK)/elsewhere && ../venv/bin/python -P $(CURDIR)/tests/installed_wheel.py
	cd $(WHEEL_CHECK)/elsewhere && ../venv/bin/predict-latency --help > /dev/null
	rm -rf $(WHEEL_CHECK)
	@echo "wheel-check: the installed wheel works from another folder"

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(PACKAGES) tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
