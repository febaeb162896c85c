# The two commands of the README, and what a developer runs. Everything installs into .venv.
PYTHON ?= python3
BIN := .venv/bin
WEIGHTS ?=

.PHONY: demo test test-slow lint clean

demo: .venv/demo
	$(BIN)/python -m vitdeploy.demo --out build/demo $(if $(WEIGHTS),--weights $(WEIGHTS))

test: .venv/dev
	$(BIN)/python -m pytest

test-slow: .venv/dev
	$(BIN)/python -m pytest -m slow

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

.venv/bin/python:
	$(PYTHON) -m venv .venv

# The stamps say for which pyproject.toml the packages were installed.
.venv/demo: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[onnx]'
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[onnx,dev]'
	@touch $@ .venv/demo

clean:
	rm -rf build dist *.egg-info .venv
