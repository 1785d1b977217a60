# Everything happens in .venv, made on the first use. PYTHON chooses the interpreter for it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS := $(VENV)/.peers
SITE := $(VENV)/.site
EVERYTHING := $(VENV)/.everything
# Twice as many processes as two cores: many tests wait. Six take a seventh longer than four there.
PROCESSES ?= 4
PYTEST = $(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
RESULTS := docs/performance

# Each process of a test run would compile everything anew, which is a tenth of its work.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo up dev test test-attacks test-clusters test-all test-pythons mutations attacks bench bench-quick bench-docs \
  pictures prove check format docs contract build smoke clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Install idalloc and its development tools into .venv.

$(INSTALLED): pyproject.toml constraints.txt
	@deploy/bootstrap.sh "$(PYTHON)" "$(VENV)"
	$(PIP) -e '.[worker,dev]'
	@touch $@

$(PEERS): $(INSTALLED)
	$(PIP) -e '.[worker,dev,bench,browser]'
	@touch $@

$(SITE): $(INSTALLED)
	$(PIP) -e '.[worker,dev,docs]'
	@touch $@

$(EVERYTHING): $(INSTALLED)
	$(PIP) -e '.[worker,dev,bench,browser,docs,manifests,orm,prefork]'
	@touch $@

demo: $(INSTALLED) ## Hand out ids through a real RabbitMQ from a real MySQL, and check them.
	@$(BIN)/python -m devstack demo

up: $(INSTALLED) ## Run RabbitMQ, MySQL, two workers and the dashboard until Ctrl-C.
	@$(BIN)/python -m devstack up

dev: $(INSTALLED) ## Run RabbitMQ and a worker without MySQL until Ctrl-C; ARGS go to `idalloc dev`.
	@$(BIN)/python -m devstack dev $(ARGS)

test: $(INSTALLED) ## Run the tests that a change has to pass, five minutes; ARGS go to pytest.
	$(PYTEST) -m 'not long' --ignore=tests/faults --ignore=tests/attacks $(ARGS)

test-attacks: $(INSTALLED) ## Attack a fleet for a second in each way, beside an honest caller.
	$(BIN)/python -m pytest tests/attacks $(ARGS)

test-clusters: $(INSTALLED) ## Kill, freeze and stop nodes of clusters under load; needs the machine for itself.
	$(BIN)/python -m pytest -m cluster tests/faults $(ARGS)

test-all: $(EVERYTHING) ## Run all tests, with the long ones under faults and the attacks, a quarter of an hour.
	$(PYTEST) -m 'not cluster' --ignore=tests/attacks $(ARGS)
	$(BIN)/python -m pytest tests/attacks $(ARGS)

test-pythons: $(INSTALLED) ## Run the unit tests on each Python 3.11 or later that is here.
	@$(BIN)/python -m tests.pythons $(ARGS)

mutations: $(INSTALLED) ## Break the rules of the protocol one by one, and see that the tests notice.
	@$(BIN)/python -m tests.mutations $(ARGS)

attacks: $(PEERS) ## Attack a fleet with a caller's rights, beside an honest caller; see ARGS=--help.
	@$(BIN)/python -m benchmarks.proofs.attacks $(ARGS)

bench: $(PEERS) ## Measure idalloc beside its peers in ten minutes; see ARGS=--help.
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(PEERS) ## Measure the few things that tell most in one minute.
	@$(BIN)/python -m benchmarks --quick $(ARGS)

bench-docs: $(PEERS) ## Measure all, put it into RESULTS (docs/performance), and into what pages claim.
	@$(BIN)/python -m benchmarks --json $(RESULTS)/results.json --table $(RESULTS)/results.md \
	  --plots $(RESULTS) $(ARGS); status=$$?; \
	  $(BIN)/python -m benchmarks.report.pages && exit $$status

pictures: $(PEERS) ## Take the pictures of the dashboard in docs/images, with Chromium.
	IDALLOC_TEST_PICTURES=$(CURDIR)/docs/images $(BIN)/python -m pytest tests/integration/test_dashboard.py -k fits

prove: $(PEERS) ## Count what must never happen, under faults and attacks, for an hour.
	@$(BIN)/python -m benchmarks.prove $(ARGS)

check: $(INSTALLED) ## Lint, check the format and the types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(INSTALLED) ## Format the code and apply the linter's safe fixes.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(SITE) ## Make a site of docs/ in build/site; fails on a link that leads nowhere.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

contract: $(INSTALLED) ## Write asyncapi.yaml and the JSON Schemas anew from the schemas package.
	@$(BIN)/python -m tests.contract

build: $(INSTALLED) ## Build the wheel and the source distribution into dist.
	rm -rf dist
	$(BIN)/python -m hatchling build

smoke: build ## Install what was built on each Python 3.11 or later that is here, and try it.
	@$(BIN)/python -m tests.smoke

clean: ## Remove .venv and everything else that was made here.
	rm -rf $(VENV) .pythons dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
