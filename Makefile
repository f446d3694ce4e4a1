# culvert's verbs. Each sets up what it needs first: on a fresh Debian 12 or 13 nothing has to be installed by hand
# (`make` itself aside; and `make check`, which installs no Debian package, needs python3 with its module venv).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.culvert-setup
PINS := requirements.txt requirements-dev.txt
# Two at a time: tests run real QEMU processes. `make test ARGS='-k tunnel'` passes words on to pytest.
JOBS ?= 2
ARGS ?=
# Where `make test` keeps what each test took and how it ended (JUnit), for whoever compares one run with another.
LOGS ?= build/logs
PIP_COMPILE := $(VENV)/pins/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

.PHONY: help setup debian-packages test-packages guests demo bench worst-case faults generations check test model interop soak lint manual format pins clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

define LINT
$(BIN)/ruff format --check .
$(BIN)/ruff check .
$(BIN)/mypy
$(BIN)/lint-imports
endef

setup: debian-packages ## Debian packages, virtual environment, pinned requirements
	@$(MAKE) --no-print-directory $(STAMP)

debian-packages:
	@packaging/install-debian-packages packaging/debian-packages.txt

$(STAMP): $(PINS) pyproject.toml
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) makes no virtual environment: its modules venv and \
	ensurepip are missing (in Debian: package python3-venv)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q src
	touch $@

guests: setup ## build the test guests now rather than when first needed
	$(BIN)/python -m guests

demo: setup ## a Linux guest moves between two daemons and back
	@$(BIN)/python -m demo

bench: setup ## every way of moving a guest, measured side by side (root; ARGS='--filter …')
	@packaging/install-debian-packages packaging/debian-packages-bench.txt
	@$(BIN)/python -m benchmarks $(ARGS)

worst-case: setup ## guests that do not stop writing, over links too narrow for them (root; ARGS='--brief')
	@packaging/install-debian-packages packaging/debian-packages-bench.txt
	@$(BIN)/python -m benchmarks --plan worst-case $(ARGS)

faults: setup ## migrations of culvert and of libvirt broken at every boundary, and the table of what came of it (root; ARGS='--filter …')
	@$(BIN)/python -m faults $(ARGS)

generations: setup ## culvert in every Debian there is, each in a root of its own, and guests between all of them (root; ARGS='--fast')
	@packaging/install-debian-packages packaging/debian-packages-test.txt
	@packaging/install-debian-packages packaging/debian-packages-generations.txt
	@$(BIN)/python -m generations $(ARGS)

check: $(STAMP) ## lint and the pure tests: no root, no Debian packages, no QEMU; under a minute (ARGS='...' goes to pytest)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check-lint check-tests

# The two halves of `make check`, which run at the same time.
.PHONY: check-lint check-tests

check-lint:
	$(LINT)

check-tests:
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m pure $(ARGS)

test-packages:
	@packaging/install-debian-packages packaging/debian-packages-test.txt

test: test-packages lint ## lint, then every test (ARGS='...' goes to pytest)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations=25 --junitxml=$(LOGS)/tests.xml $(ARGS)

interop: setup ## the long tests against programs of others, which are installed first (ARGS='...' goes to pytest)
	@packaging/install-debian-packages packaging/interop-packages.txt
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m interop $(ARGS)

soak: setup ## post-copies cut at random moments, 200 times in every way (CUTS=n, SEED=s; ARGS='...' goes to pytest)
	$(BIN)/python -m pytest -n $(JOBS) -m soak -rP $(ARGS)

model: setup ## the hand-over in every order of faults, deeper than `make test`: explorer, random walks, SPIN
	$(BIN)/python -m tests.migration.explorer
	$(BIN)/python -m tests.model.spin

lint: setup ## ruff, mypy strict, the import rule
	$(LINT)

manual: setup ## write the tables of docs/ anew from the code
	@$(BIN)/python -m tools.manual

format: setup ## rewrite the sources in the project's layout
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

pins: setup ## pin the newest versions of all requirements, with hashes
	test -x $(VENV)/pins/bin/pip-compile || { $(PYTHON) -m venv $(VENV)/pins && $(VENV)/pins/bin/pip install --quiet pip-tools; }
	$(PIP_COMPILE) --upgrade --output-file requirements.txt pyproject.toml
	$(PIP_COMPILE) --upgrade --extra dev --output-file requirements-dev.txt pyproject.toml

clean: ## remove everything that was made here
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
