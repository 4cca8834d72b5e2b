# `make` alone lists what there is to do. Only Python 3.11–3.13 and make are needed; everything goes into .venv.
VENV ?= .venv
OUT ?= out
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --no-input --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint format bench figures size protos contracts clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## make .venv, install Maquette into it, fetch the landmark networks
	@$(BIN)/maquette setup

demo: setup ## reconstruct the sample photo into out/demo
	$(BIN)/maquette demo -o $(OUT)/demo

test: $(VENV)/.developed ## run the tests; ARGS="-k name" is handed to pytest
	@$(BIN)/maquette setup
	@$(BIN)/maquette triton --fetch
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.developed ## check style, types and the rooms' independence
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.developed ## lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## measure; SCANS=folder adds scans of that layout (docs/cli.md)
	$(BIN)/maquette bench synthetic
	$(if $(SCANS),$(BIN)/maquette bench scans --root $(SCANS))
	$(BIN)/maquette bench hostile
	$(BIN)/maquette bench time

bench-load: $(VENV)/.developed ## what gateway and services cost and bear; ARGS="--only uploads"
	@$(BIN)/maquette setup
	$(BIN)/python -m bench.load $(ARGS)

bench-chaos: $(VENV)/.developed ## kill every process while heads are made; ARGS="--jobs 50 --seed 3"
	@$(BIN)/maquette setup
	@$(BIN)/maquette triton --fetch
	$(BIN)/python -m bench.chaos $(ARGS)

figures: setup ## draw the head model, its modes and expressions into out/figures
	$(BIN)/python -m training.figures --output $(OUT)/figures

minio: ## build the MinIO server that the tests use (once, some minutes; needs Go)
	@sh scripts/minio.sh

size: ## install into a fresh environment, print how large it is, fail above the limit
	$(BIN)/python scripts/install_size.py

protos: $(VENV)/.developed ## generate the Python stubs of the contracts in protos/
	PYTHON=$(abspath $(BIN)/python) scripts/make-protos.sh

contracts: ## check the style of the contracts, and that callers of the last release understand them
	scripts/check-protos.sh

clean: ## remove .venv, results and caches
	rm -rf $(VENV) $(OUT) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

# An environment that is there already, whoever made it, is used as it is.
$(VENV)/.made: scripts/make-venv.sh
	@test -x $(BIN)/python || sh scripts/make-venv.sh $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	$(PIP) -e .
	@touch $@

$(VENV)/.developed: $(VENV)/.made pyproject.toml
	$(PIP) -e '.[dev]'
	@touch $(VENV)/.installed $@
