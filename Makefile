# Everything a developer types. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The stamp is older than pyproject.toml when dependencies changed: install again.
READY := $(VENV)/.installed
PROTOC := $(BIN)/python -m grpc_tools.protoc -I proto
STUBS ?= proto

TEST_FLAGS ?=
# One more than cores, 4 at most: many tests wait for a process or a moment.
PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(min((os.cpu_count() or 1) + 1, 4))')

.DEFAULT_GOAL := help
.PHONY: help run test check lint format generate bench faults clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "wxauth needs Python 3.11 or later; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: $(READY) ## Run everything in this terminal: sandbox, gRPC server and gateway
	$(BIN)/wxauth dev

test: $(READY) ## Run all tests: those that measure last and alone
	$(BIN)/pytest -m 'not alone' --numprocesses $(PROCESSES) --dist loadfile $(TEST_FLAGS)
	$(BIN)/pytest -m alone $(TEST_FLAGS)

check: lint test ## Format, lint, types, contract, generated code and tests, as CI runs them

lint: $(READY) ## All of check but the tests
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/buf lint proto
	$(BIN)/buf format --diff --exit-code proto
	$(BIN)/buf breaking proto --against proto/released.binpb
	$(BIN)/python tests/generated_code.py

format: $(READY) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format --write proto

generate: $(READY) ## Generate the Python stubs from proto/
	$(PROTOC) --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --python_out=$(STUBS) --mypy_out=quiet:$(STUBS) proto/wxauth/v1/*.proto
	$(PROTOC) --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc --grpc_python_out=$(STUBS) --mypy_grpc_out=quiet:$(STUBS) proto/wxauth/v1/*_service.proto

bench: $(READY) ## Measure the figures of the README and print them as a table
	$(BIN)/python -m tests.bench

faults: $(READY) ## Run the long form of the fault tests (kill -9, stalls, races)
	$(BIN)/pytest tests/fault --long

clean: ## Remove the virtual environment and caches; keeps .wxauth/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
