# Every target sets up what it needs: the environment in .venv comes from one of the two locks.
#
# CONFIG    more YAML files, merged over a study's configuration      make demo CONFIG=mine.yaml
# TESTS     what pytest runs instead of everything                    make test TESTS=tests/unit/test_nets.py
# OPTIONS   options of a benchmark (its --help lists them)            make bench-train OPTIONS="--rounds 1"
# ALL       check-quality of every model, not of one of each kind      make check-quality ALL=1
# CUDA      12 or 13, the lock to install; else the one for the driver     make install CUDA=12
# CORES     of Snakemake; PYTHON: what .venv is made with             make install PYTHON=python3.12

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
CORES ?= all
CONFIG =
TESTS =
OPTIONS =
ALL =
RESULTS ?= results/celeba
BIN := .venv/bin
READY := .venv/installed
INSTALLED := $(shell cat .venv/installed 2>/dev/null)
LOCK := $(or $(if $(filter 12,$(CUDA)),requirements-cuda12.lock),$(if $(CUDA),requirements.lock),$(INSTALLED),$(shell \
	$(PYTHON) workflow/scripts/vaebench/installation/locks.py 2>/dev/null),requirements.lock)
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 25
UV_VERSION := 0.13.9
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## compare families of models on synthetic faces, in minutes, on this machine
	$(SNAKEMAKE) --configfile config/demo.yaml $(CONFIG)

mnist: $(READY) ## the same on 5,000 real MNIST digits
	$(SNAKEMAKE) --configfile config/mnist.yaml $(CONFIG)

fashion: $(READY) ## the same on the 70,000 photographs of Fashion-MNIST, with probes of its ten classes
	$(SNAKEMAKE) --configfile config/fashion.yaml $(CONFIG)

findings: $(READY) ## repeat known findings on Fashion-MNIST and on synthetic faces, into docs/findings.md
	$(SNAKEMAKE) --configfile config/findings.yaml $(CONFIG) -- tables
	$(SNAKEMAKE) --configfile config/findings_faces.yaml $(CONFIG) -- tables
	$(BIN)/python -m vaebench.report.findings_page results/findings_fashion results/findings_faces

test: $(READY) ## every test that needs no cluster
	$(PYTEST) -m "not slurm" $(TESTS)

test-fast: $(READY) ## the tests that run no pipeline
	$(PYTEST) -m "not slurm and not slow" $(TESTS)

lint: $(READY) ## style of Python and Snakemake code, types, and the order of the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/snakemake --lint --configfile config/demo.yaml

data/packages/gan_face_generate.archive: | $(READY)
	$(SNAKEMAKE) --configfile config/demo.yaml -- $@

data/weights/%.pt: | $(READY)
	$(SNAKEMAKE) -- $@

bench-data: data/packages/gan_face_generate.archive ## validation and preprocessing against the plain way and raw decoding
	$(BIN)/python benchmarks/bench_data.py $(OPTIONS)

data/demo/train_data.npz: | $(READY)
	$(SNAKEMAKE) --configfile config/demo.yaml -- data

bench-quality: data/demo/train_data.npz data/weights/alexnet.pt ## quality over training time against pythae's stock trainer
	$(BIN)/python benchmarks/bench_quality.py $(OPTIONS)

data/quality/train_data.npz: | $(READY)
	$(SNAKEMAKE) --configfile benchmarks/quality.yaml -- data

check-quality: data/quality/train_data.npz ## whether the numbers moved: a small study of 31 models against its references, ALL=1: of 40
	$(BIN)/python benchmarks/check_quality.py $(if $(ALL),--all) $(OPTIONS)

bench-train: $(READY) ## training against pythae's trainers
	$(BIN)/python benchmarks/bench_train.py $(OPTIONS)

bench-eval: data/weights/vgg16.pt data/weights/alexnet.pt ## evaluation against a bare LPIPS loop, the plain script way and torchmetrics
	$(BIN)/python benchmarks/bench_eval.py $(OPTIONS)

check-gpu: data/packages/gan_face_generate.archive ## everything that has to be seen on a GPU: tests, speed, memory
	$(BIN)/python benchmarks/check_gpu.py $(OPTIONS)

lock: $(READY) ## resolve the dependencies of pyproject.toml anew
	$(BIN)/uv pip compile --universal --generate-hashes --no-annotate --extra dev --python-version 3.11 --upgrade \
		--custom-compile-command "make lock" --quiet pyproject.toml --output-file requirements.lock
	cp requirements.lock requirements-cuda12.lock # what both have in common stays the same
	$(BIN)/uv pip compile --universal --generate-hashes --no-annotate --extra dev --python-version 3.11 \
		--custom-compile-command "make lock" --quiet pyproject.toml --constraint requirements-cuda12.in \
		--output-file requirements-cuda12.lock

paper: $(READY) ## LaTeX tables and vector figures of a study for a manuscript (CONFIG=config/demo.yaml)
	$(SNAKEMAKE) $(if $(CONFIG),--configfile $(CONFIG)) -- paper

readme: demo ## the pictures and the table in the README, from the demo
	mkdir -p docs/figures && cp results/demo/figures/reconstructions.png results/demo/figures/generations.png docs/figures/
	$(BIN)/python -m vaebench.report.generated_docs results/demo/tables/comparison.md

check: $(READY) ## look at this machine and a study's plan before starting it (CONFIG=config/demo.yaml)
	$(BIN)/vaebench check config/config.yaml $(CONFIG)

status: $(READY) ## where every training of a study stands (CONFIG=config/demo.yaml)
	$(BIN)/vaebench status config/config.yaml $(CONFIG)

efficiency: $(READY) ## what the jobs of a study asked for and used (RESULTS=results/demo)
	$(BIN)/vaebench efficiency $(RESULTS)

test-slurm: $(READY) ## the study on a real SLURM on loopback (needs munge, slurmctld and slurmd)
	$(BIN)/pytest -m slurm $(or $(TESTS),tests/slurm)

test-slurm-accounting: $(READY) ## the same with slurmdbd and MariaDB, status by sacct
	VAEBENCH_SLURM_ACCOUNTING=1 $(BIN)/pytest -m slurm $(or $(TESTS),tests/slurm/test_accounting.py)

docs: $(READY) ## write the parts of the documentation that are made from the code
	PYTHONHASHSEED=0 $(BIN)/snakemake --quiet --configfile config/config.yaml --rulegraph mermaid-js > workflow/report/rulegraph.mmd
	$(BIN)/python -m vaebench.report.generated_docs

install: $(READY) ## set up .venv only

$(READY): $(LOCK) $(if $(filter-out $(LOCK),$(INSTALLED)),another-lock)
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 7))' 2>/dev/null || { \
		echo "vaebench needs Python 3.11 or newer: $(if $(PYTHON),$(PYTHON) is none,none found on PATH)"; exit 1; }
	@$(PYTHON) workflow/scripts/vaebench/installation/prerequisites.py
	@echo "Setting up .venv with $$($(PYTHON) --version) from $(LOCK) (several GB, about a minute) ..."
	$(PYTHON) -m venv --clear $(or $(realpath .venv),.venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes --requirement $(LOCK)
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@echo $(LOCK) > $@

.PHONY: another-lock help demo mnist fashion findings test test-fast lint paper readme bench-data bench-quality bench-train bench-eval check-gpu check-quality check status efficiency \
	test-slurm test-slurm-accounting lock docs install
