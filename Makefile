# The commands of the project. `make run` and `make test` set up all they need in .venv, from Python 3.11+ and make.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
WORKERS ?= 2

# The first interpreter that is new enough; PYTHON=... chooses another.
NEW_ENOUGH := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | \
		awk -F'|' '{printf "  %-18s %s\n", $$1, $$2}'

.PHONY: run
run: $(VENV)/runtime ## start the whole ecosystem, embedded, on http://127.0.0.1:8080
	@exec $(BIN)/fauxchange up

.PHONY: test
test: $(VENV)/dev ## run every test
	$(BIN)/pytest -n $(WORKERS) tests

.PHONY: test-unit
test-unit: $(VENV)/dev ## run the tests that need no server and no socket
	$(BIN)/pytest -n $(WORKERS) tests/unit tests/simulation tests/architecture

.PHONY: test-integration
test-integration: $(VENV)/dev ## run the tests over real sockets, processes and stores
	$(BIN)/pytest -n $(WORKERS) tests/contract tests/integration tests/acceptance

.PHONY: test-mutants
test-mutants: $(VENV)/dev ## plant bugs in the matching kernel and see that the tests find each
	FAUXCHANGE_TEST_MUTANTS=all $(BIN)/pytest -n $(WORKERS) tests/mutants

.PHONY: test-all
test-all: check test ## run the checks and every test

.PHONY: coverage
coverage: $(VENV)/dev ## run every test with coverage, kernels as plain Python; the report is htmlcov/index.html
	NUMBA_DISABLE_JIT=1 $(BIN)/coverage run -m pytest tests
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report --skip-covered --sort=cover

.PHONY: check
check: $(VENV)/dev ## check format, lint, types, imports and documents
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/architecture

.PHONY: check-env
check-env: $(VENV)/runtime ## check .env, or say how to make one
	@$(BIN)/fauxchange check-env

.PHONY: format
format: $(VENV)/dev ## put the code into the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: proto
proto: $(VENV)/dev ## generate the protobuf code anew, after a change in proto/
	$(BIN)/python -m grpc_tools.protoc --proto_path=proto --python_out=src --pyi_out=src --grpc_python_out=src \
		$$(cd proto && find . -name '*.proto' | sed 's|^\./||' | sort)

.PHONY: bench
bench: $(VENV)/runtime ## run the benchmarks, each figure beside its baseline
	$(BIN)/fauxchange bench all

.PHONY: build
build: $(VENV)/dev ## build the wheel and the source distribution into dist/
	$(BIN)/python -m hatchling build

.PHONY: deploy-validate
deploy-validate: $(VENV)/dev ## check the deployment; with a Docker engine, build it, start it and ask for its health
	deploy/validate

.PHONY: image-sizes
image-sizes: $(VENV)/dev ## measure how large the images are, without a Docker engine
	$(BIN)/python deploy/image_sizes.py

.PHONY: lock
lock: $(VENV)/dev ## lock the dependencies anew, after a change in pyproject.toml
	$(PIP) uv
	$(LOCK) --all-extras --group build pyproject.toml --output-file requirements/runtime.txt
	$(LOCK) --all-extras --group dev pyproject.toml --output-file requirements/dev.txt
	$(LOCK) --constraints requirements/runtime.txt --extra parquet --group build pyproject.toml --output-file requirements/full.txt
	$(LOCK) --constraints requirements/runtime.txt --no-emit-package numba --no-emit-package llvmlite \
		pyproject.toml --output-file requirements/slim.txt
	$(LOCK) --constraints requirements/runtime.txt --group pyproject.toml:build --output-file requirements/build.txt

LOCK := $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header

.PHONY: clean
clean: ## remove what was built and installed here; data folders stay
	rm -rf $(VENV) build dist htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp per set of dependencies: the tools of development are installed only when a target needs them.
$(VENV)/runtime: requirements/runtime.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; name one with make PYTHON=..." >&2; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON); the first time takes about a minute"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements/runtime.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev: requirements/dev.txt $(VENV)/runtime
	@echo "Adding what tests and checks need"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@
