# Two commands: `make run` starts everything with a demo, `make test` runs the tests.
PYTHON ?= python3
PORT ?= 8000
HOST ?= 127.0.0.1

# Given on the command line they would be in the environment of every engine
unexport PORT HOST
MAKEOVERRIDES =

# Its networks are the machine's: it does not run beside other tests
ALONE = tests/integration/test_two_nodes.py

.PHONY: run serve test stress engines browser gpu lint

run:  ## everything, with a real engine and a demo search
	@$(PYTHON) install.py --engine
	@exec .venv/bin/python manage.py up --host $(HOST) --port $(PORT)

serve:  ## everything, without engine and demo
	@$(PYTHON) install.py
	@exec .venv/bin/python manage.py up --host $(HOST) --port $(PORT) --no-demo

test:  ## unit and integration tests; what needs an engine, Chromium, a GPU or a minute is left out
	@$(PYTHON) install.py --dev
	@.venv/bin/python -m pytest -n 2 --dist loadfile -m "not stress and not engine and not browser and not gpu"

stress:  ## many processes, kill -9, Redis restarts: does an invariant ever break?
	@$(PYTHON) install.py --dev
	@.venv/bin/python -m pytest -m stress -s tests/stress $(ALONE)
	@.venv/bin/python -m pytest -m stress -n 3 tests/integration --ignore $(ALONE)

engines:  ## the tests on real engines: vllm and llama-cpp-python, those that are installed
	@$(PYTHON) install.py --dev --engine
	@.venv/bin/python -m pytest -m engine

browser:  ## the tests in Chromium
	@$(PYTHON) install.py --dev
	@.venv/bin/python -m pytest -m browser

gpu:  ## the tests for a machine with an NVIDIA driver
	@$(PYTHON) install.py --dev
	@.venv/bin/python -m pytest -m gpu

lint:  ## format, lint and types
	@$(PYTHON) install.py --dev
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
