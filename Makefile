# Every target creates the virtual environment when it is missing or older than the pins.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_ARGS ?=
export VIGIE_FAULTS VIGIE_FAULTS_SEED

.DEFAULT_GOAL := help
.PHONY: help install demo test test-services test-long keep-events lint format types protos protos-check docs docs-check bench faults faults-local rehearse-upgrade fuzz soak soak-services lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt
	@echo "==> virtual environment in $(VENV) (Python >= 3.11), pinned packages with hashes"
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Vigie needs Python 3.11 to 3.13; this is %d.%d (set PYTHON=…)" % sys.version_info[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# The pins are the whole closure: without --no-deps, pip goes looking for "name[extra]" of a pinned
	@# name, finds a version newer than the pin, and refuses it for want of a hash.
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on --require-hashes --no-deps -r constraints.txt
	@$(BIN)/python -m pip check --disable-pip-version-check >/dev/null
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-build-isolation --no-deps -e .
	@touch $@
	@echo "==> ready: $$($(BIN)/vigie version)"

install: $(STAMP) ## Create the virtual environment and install everything, pinned

demo: $(STAMP) ## Run the main job with simulated cameras: record, list, play, prove (about 2 minutes)
	@$(BIN)/python -m vigie demo

test: $(STAMP) ## Unit, contract, integration and end-to-end tests, with coverage (PYTEST_ARGS=…)
	@rm -f .coverage .coverage.*
	@echo "==> unit and contract tests, which compute: two workers"
	@$(BIN)/python -m pytest tests/unit tests/contract tests/fuzz -n 2 --dist loadfile --no-loadscope-reorder -q --cov --cov-report= $(PYTEST_ARGS)
	@echo "==> integration and end-to-end tests, which wait for processes, cameras and time: four workers"
	@$(BIN)/python -m pytest tests/integration tests/e2e -n 4 --dist loadfile --no-loadscope-reorder --cov --cov-append --cov-report=term $(PYTEST_ARGS)

# Which of them: one-process-external six-services six-services-seaweedfs
DEPLOYMENTS ?= one-process-external six-services six-services-seaweedfs
test-services: $(STAMP) ## End-to-end tests on Kafka, S3 and PostgreSQL, one process and apart (servers by VIGIE_TEST_*; DEPLOYMENTS=…)
	@for each in $(DEPLOYMENTS); do echo "==> end-to-end tests: $$each"; \
	    $(BIN)/python -m pytest tests/e2e --deployment $$each -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS) || exit 1; done

test-long: $(STAMP) ## The same in their long forms: fifty times the examples, every kill point, minutes of foreign cameras
	@VIGIE_LONG_TESTS=1 $(MAKE) --no-print-directory test PYTEST_ARGS="--timeout=3600 $(PYTEST_ARGS)"

keep-events: $(STAMP) ## Keep the bytes of events that this version writes differently (tests/contract/events)
	@PYTHONPATH=services:tests $(BIN)/python -m contract.kept_events

lint: $(STAMP) ## ruff, buf lint, import walls
	@echo "==> ruff"; $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "==> buf lint"; mkdir -p build && $(BIN)/python tools/protos.py image build/vigie.binpb && $(BIN)/buf lint build/vigie.binpb --config buf.yaml
	@echo "==> import walls"; $(BIN)/python -m pytest -q -p no:cacheprovider tests/unit/test_walls.py

format: $(STAMP) ## Let ruff format and mend what it can
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

types: $(STAMP) ## Strict type checking of everything that is ours
	@echo "==> mypy --strict"; $(BIN)/mypy services/vigie tools

protos: $(STAMP) ## Regenerate the stubs from protos/
	@$(BIN)/python tools/protos.py generate

protos-check: $(STAMP) ## Fail when stubs differ from protos/, or when a contract breaks its users
	@$(BIN)/python tools/protos.py check
	@$(BIN)/python tools/breaking.py

docs: $(STAMP) ## Regenerate docs/reference from protos, configuration, CLI, metrics, reasons
	@$(BIN)/python tools/reference.py generate

docs-check: $(STAMP) ## Fail when docs/reference is not what the code says
	@$(BIN)/python tools/reference.py check

bench: $(STAMP) ## Measure reception, timeline, storage, services; prints figures and ratios (servers by VIGIE_TEST_*)
	@mkdir -p build; rm -f build/bench.log; for bench in tests/bench/bench_*.py; do echo "==> $$bench"; \
	    { $(BIN)/python $$bench 2>&1 || echo "FAILED $$bench"; } | tee -a build/bench.log; done; \
	    echo "==> $$(grep -c '^no server:' build/bench.log) times there was no server"; ! grep '^FAILED ' build/bench.log

faults-local: $(STAMP) ## Break one machine in every way, bounded (VIGIE_FAULTS=long: all of it; VIGIE_FAULTS_SEED=N)
	@rm -rf build/faults/ledger
	@$(BIN)/python -m pytest tests/faults --ignore=tests/faults/services $(PYTEST_ARGS)
	@$(BIN)/python tools/failure_modes.py > build/faults/failure-modes.md && echo "==> table in build/faults/failure-modes.md"

faults: $(STAMP) ## Break services apart on real servers, bounded (servers by VIGIE_TEST_*; VIGIE_FAULTS=long: pairs, too)
	@grep -l '"section": "services"' build/faults/ledger/*.jsonl 2>/dev/null | xargs -r rm -f
	@$(BIN)/python -m pytest tests/faults/services $(PYTEST_ARGS)
	@if ls build/faults/ledger/*.jsonl >/dev/null 2>&1; then $(BIN)/python tools/failure_modes.py > build/faults/failure-modes.md && echo "==> table in build/faults/failure-modes.md"; fi

rehearse-upgrade: $(STAMP) ## Upgrade services one after the other while cameras are recorded, go back, upgrade again (FROM=commit)
	@test -n "$(FROM)" || { echo "say from which version: make rehearse-upgrade FROM=commit" >&2; exit 2; }
	@VIGIE_UPGRADE_FROM=$(FROM) $(BIN)/python -m pytest tests/faults/services/test_upgrade.py $(PYTEST_ARGS)

fuzz: $(STAMP) ## Fuzz every parser, guided by coverage, for hours (RUNS=N inputs a target; TARGETS="sdp …")
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes --no-deps -r tests/fuzz/requirements.txt
	@nice -n 15 $(BIN)/python tests/fuzz/run.py $(TARGETS) --runs $(or $(RUNS),0)

MINUTES ?= 30
soak: $(STAMP) ## 100 cameras that come, go, misbehave and change, for MINUTES=30: nothing may grow
	@$(BIN)/python tests/faults/soak.py --minutes $(MINUTES)

soak-services: $(STAMP) ## The same with six services on Kafka, S3 and PostgreSQL (servers by VIGIE_TEST_*)
	@$(BIN)/python tests/faults/soak_services.py --minutes $(MINUTES)

PINS := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate
lock: $(STAMP) ## Refresh constraints.txt and the pins of the image (with hashes, no host named)
	@$(BIN)/uv pip compile pyproject.toml --extra dev $(PINS) --upgrade --quiet -o constraints.txt
	@$(BIN)/uv pip compile pyproject.toml $(PINS) -c constraints.txt --upgrade --quiet -o infra/docker/runtime.txt
	@echo hatchling | $(BIN)/uv pip compile - $(PINS) -c constraints.txt --upgrade --quiet -o infra/docker/build.txt
	@echo "constraints.txt refreshed: $$(grep -c '==' constraints.txt) packages"

clean: ## Remove what builds and demos left behind
	@rm -rf build dist demo-data htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache
