# The two commands of the README, and what a developer runs. Everything installs into .venv.
PYTHON ?= python3
BIN := .venv/bin
WEIGHTS ?=

.PHONY: demo test test-slow lint clean

# Export, prove and time the demo suite, draw one prediction, write the page. With WEIGHTS=FILE (an official checkpoint
# of efficientvit_seg_b0_cityscapes) the picture is drawn with it instead of with random weights.
demo: .venv/demo
	@rm -rf build/demo && mkdir -p build/demo
	$(BIN)/vitdeploy bench --suite demo --time-budget 200 --out build/demo/run.json --artifacts build/demo/artifacts || [ $$? -eq 8 ] # 8: a row may not be quoted; the report says why
	$(BIN)/vitdeploy export efficientvit_seg_b0_cityscapes --target onnx-fp32 --size 512x1024 $(if $(WEIGHTS),--weights $(WEIGHTS)) --out build/demo/predict
	$(BIN)/vitdeploy predict build/demo/predict/*/512x1024/onnx-fp32 sample:china --out build/demo/segmentation.png
	$(BIN)/vitdeploy report build/demo/run.json --format markdown --out build/demo/report.md
	$(BIN)/vitdeploy report build/demo/run.json --format html --out build/demo/report.html
	@echo build/demo/segmentation.png

test: .venv/dev
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: .venv/dev
	$(BIN)/python -m pytest -m slow

lint: .venv/dev build/stubs/tensorrt
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
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[all,dev]'
	-$(BIN)/pip install --quiet --disable-pip-version-check --no-deps 'lvis==0.5.3' # a test holds LVIS against it; what it depends on is for drawing
	@touch $@ .venv/demo

# Types of TensorRT's Python interface. In .venv they would pass for the package: `import tensorrt` finds their folder.
build/stubs/tensorrt: .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target build/stubs 'tensorrt-stubs==10.13.*'
	@touch $@

clean:
	rm -rf build dist *.egg-info .venv
