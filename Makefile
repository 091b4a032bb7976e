# Everything runs in .venv, which is made on first use. PYTHON names the Python 3.11 to make it with.
PYTHON ?= python3.11
PROMPT ?= a round wooden table
SEED ?= 0
BIN := .venv/bin

.PHONY: demo test test-fast lint addon gallery bench train finetune

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

# The default model. LOWPOLY names a folder of real meshes with captions (any that training.prepare reads) to train on as well.
ifdef LOWPOLY
REAL := data/lowpoly
WITH_REAL := 'data={data/train: 1, data/seldom: 1, data/lowpoly/train: 5}' 'validation=[data/validation, data/lowpoly/validation]'
endif

train: .venv/ready data/train data/seldom data/validation $(REAL)
	$(BIN)/python -m training.train_transformer --config training/configs/default.yaml --out runs/default $(WITH_REAL)

data/train:
	$(BIN)/python -m training.data.dataset --out $@.new --per-family 1200
	mv $@.new $@

# Kinds that come to an end less often than the others.
data/seldom:
	$(BIN)/python -m training.data.dataset --out $@.new --per-family 2400 --families \
		bird clock dog flower mountain "palm tree" plane "potted plant" rock windmill
	mv $@.new $@

data/validation:
	$(BIN)/python -m training.data.dataset --out $@.new --per-family 20 --validation
	mv $@.new $@

data/lowpoly:
	$(BIN)/python -m training.prepare $(LOWPOLY) --out $@.new
	mv $@.new $@

# The default model, taught the meshes of a folder: make finetune DATA=furniture/ CAPTIONS=captions.csv
finetune: .venv/ready
	$(BIN)/python -m training.finetune $(DATA) $(if $(CAPTIONS),--captions $(CAPTIONS)) --out runs/$(notdir $(DATA:/=))
