# The two commands of the README, and what a developer runs. Everything installs into .venv.
PYTHON ?= python3
BIN := .venv/bin
WEIGHTS ?=

.PHONY: demo test test-slow lint docs clean

# Export, prove and time the demo suite, draw its pictures, write the page. The pictures are drawn with official weights,
# which are downloaded if the network gives them within half a minute; WEIGHTS=FILE (of efficientvit_seg_b0_cityscapes)
# takes that file and downloads nothing.
demo: .venv/demo
	@rm -rf build/demo && mkdir -p build/demo
	$(BIN)/python -m vitdeploy.benchmarks.studies.demo --out build/demo $(if $(WEIGHTS),--weights $(WEIGHTS))

test: .venv/dev
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: .venv/dev
	$(BIN)/python -m pytest -m slow

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# What is made from the program: docs/commands.md, docs/schemas.md, the JSON Schemas, README's table of self-tests,
# docs/tensorrt-versions.md. Tests hold them against it.
docs: .venv/dev
	$(BIN)/python -m tests.commands_page
	$(BIN)/python -m tests.reports.test_schemas
	$(BIN)/python -m tests.schemas_page
	$(BIN)/python -m tests.verified_table
	-$(BIN)/python -m tests.tensorrt_versions_page # downloads NVIDIA's bindings, and needs gcc

.venv/bin/python:
	$(PYTHON) -m venv .venv

# The stamps say for which pyproject.toml the packages were installed.
.venv/demo: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[onnx,hub]'
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[all,dev]'
	-$(BIN)/pip install --quiet --disable-pip-version-check --no-deps 'lvis==0.5.3' # a test holds LVIS against it; what it depends on is for drawing
	@touch $@ .venv/demo

clean:
	rm -rf build dist *.egg-info .venv
