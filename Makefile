# The commands of the project. `make run` and `make test` set up all they need in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run
run: $(VENV)/runtime ## start the whole ecosystem, embedded, on 127.0.0.1:8080
	$(BIN)/fauxchange up

# A stamp per set of dependencies: the tools of development are installed only when a target needs them.
$(VENV)/runtime: requirements/runtime.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/dev: requirements/dev.txt $(VENV)/runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	touch $@

LOCK := $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --all-extras

.PHONY: lock
lock: $(VENV)/dev ## lock the dependencies anew, after a change in pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(LOCK) --group build pyproject.toml --output-file requirements/runtime.txt
	$(LOCK) --group dev pyproject.toml --output-file requirements/dev.txt
