# What people type here. `make help` lists it.

PYTHON ?= python3
DISTRO ?= kilted
# Videos with known masks, for the tests and figures that need them; they are skipped where there are none.
DATA ?= ../shared/data
# What `make test` runs: files, folders or pytest's options.
TESTS ?= test
# How many of their files run at a time.
WORKERS ?= 2
# How many camera images `make soak` takes.
FRAMES ?= 10000

VENV := .venv
ORIGINAL := .venv-original
export SAM2_DATA ?= $(abspath $(DATA))
# Threads that wait for one another sleep: spinning, they stall for milliseconds where other programs want the cores.
# Where nothing else runs they are faster when they spin, so `make figures`, which measures, leaves them alone.
test soak: export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help setup demo test soak original lint train figures notebooks pictures clean

help:
	@echo 'make setup   create .venv with everything, ROS 2 included, and build the interfaces (minutes; then cached)'
	@echo 'make demo    track an object in a real video through the node; leaves pictures and figures in out/'
	@echo 'make test    run all tests                 TESTS=test/core  only these'
	@echo 'make soak    run the node on FRAMES=10000 images with every disorder, then through 100 lives (11 minutes)'
	@echo 'make original   create $(ORIGINAL) with the original SAM 2 beside ours, for sam2 benchmark --against sam2 (6 GB)'
	@echo 'make lint    ruff and mypy'
	@echo 'make train   train the embedded model anew (see training/README.md)'
	@echo 'make figures make the figures of docs/nano.md anew, from DATA (6 minutes)'
	@echo 'make notebooks   make examples/*.ipynb from the scripts there'
	@echo 'make pictures    make the pictures of docs/commands.md'
	@echo 'make clean   remove everything that these commands made'
	@echo
	@echo 'PYTHON=$(PYTHON)  DISTRO=$(DISTRO) (kilted or jazzy; where a ROS 2 is sourced, that is used)  DATA=$(DATA)'

setup:
	@bash scripts/setup.sh '$(PYTHON)' '$(DISTRO)'

demo: setup
	@$(VENV)/bin/python examples/demo.py --output out

test: setup
	@$(VENV)/bin/pytest --numprocesses $(WORKERS) --dist loadfile $(TESTS)

soak: setup
	@PYTHONPATH=test $(VENV)/bin/python test/system/soak.py --frames $(FRAMES) --output out

# What the original imports asks for a PyTorch of its own: see requirements/original.txt.
original: $(ORIGINAL)/ready

$(ORIGINAL)/ready: requirements/original.txt requirements/constraints.txt setup.py
	@echo 'original: creating $(ORIGINAL) (minutes, 6 GB)' >&2
	@rm -rf $(ORIGINAL)
	@$(PYTHON) -m venv $(ORIGINAL)
	@$(ORIGINAL)/bin/pip install -qq -c requirements/constraints.txt -r requirements/original.txt
	@SAM2_BUILD_CUDA=0 $(ORIGINAL)/bin/pip install -qq --no-build-isolation --no-deps sam2==1.1.0
	@$(ORIGINAL)/bin/pip install -qq --no-build-isolation --no-deps --editable .
	@touch $@

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

train: setup
	@$(VENV)/bin/pip install -qq -c requirements/constraints.txt -r requirements/training.txt
	$(VENV)/bin/python -m training.train $(TRAIN)

figures: setup
	@$(VENV)/bin/python scripts/figures.py '$(DATA)'

notebooks: setup
	@$(VENV)/bin/python scripts/make_notebooks.py

pictures: setup
	@$(VENV)/bin/python scripts/make_pictures.py

clean:
	rm -rf $(VENV) $(ORIGINAL) build install log out *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
