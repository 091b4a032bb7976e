# Everything runs in .venv, which is made on first use. PYTHON names the Python 3.11 to make it with.
PYTHON ?= python3.11
PROMPT ?= a round wooden table
SEED ?= 0
BIN := .venv/bin

.PHONY: demo test test-fast lint addon gallery bench train

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet torch==2.13.0 --editable ".[training,blender,development]"
	touch $@

demo: .venv/ready
	$(BIN)/python demo/demo.py "$(PROMPT)" --seed $(SEED) --out out

test: addon
	$(BIN)/python -m pytest

test-fast: .venv/ready
	$(BIN)/python -m pytest tests/core -x

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/mypy

addon: .venv/ready
	$(BIN)/python build_addon.py

gallery: .venv/ready
	$(BIN)/python demo/gallery.py --out docs/gallery.png

bench: .venv/ready .rival/ready
	$(BIN)/python -m benchmarks

# What ours is measured against, in an environment of its own.
.rival/ready:
	$(PYTHON) -m venv .rival
	.rival/bin/pip install --quiet torch==2.13.0 meshgpt-pytorch==1.8.1
	touch $@

train: .venv/ready data/train data/validation
	$(BIN)/python -m accelerate.commands.launch --num_processes 1 -m training.train_transformer --config training/configs/default.yaml --out runs/default

data/train:
	$(BIN)/python -m training.data.dataset --out $@ --per-family 4000

data/validation:
	$(BIN)/python -m training.data.dataset --out $@ --per-family 40 --validation
