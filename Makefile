# `make` alone shows what there is. Every target may be run again: what is done already is not done twice.

PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv engine images demo test check bench clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: .venv/installed ## a virtual environment with the package in it

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or later is needed: make PYTHON=python3.11' >&2; exit 4; }
	@echo '== virtual environment (a minute, the first time)'
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install -qq -e '.[test,check]'
	@touch $@

engine: venv ## find a container engine, or install and start one
	@echo '== container engine'
	@$(BIN)/bulkhead engine --install

images: engine ## build the images of the shipped servers
	@echo '== images'
	@$(BIN)/bulkhead images build

demo: images ## three real servers, each in a container of its own
	@$(BIN)/bulkhead demo

check: venv ## format, lint, types and the direction of imports
	@echo '== ruff format'
	@$(BIN)/ruff format --check .
	@echo '== ruff check'
	@$(BIN)/ruff check .
	@echo '== mypy'
	@$(BIN)/mypy
	@echo '== lint-imports'
	@$(BIN)/lint-imports

test: check images ## all checks and all tests
	@echo '== compiler: the security tests build small probes'
	@echo 'int main(void) { return 0; }' | gcc -static -x c -o /dev/null - 2>/dev/null \
		|| { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq gcc libc6-dev; }
	@echo '== PostgreSQL: one of the servers that clients reach through a gate'
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 \
		|| { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql; }
	@echo '== zsh and fish: they read the completions that are written for them'
	@{ command -v zsh && command -v fish; } >/dev/null \
		|| { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends zsh fish; }
	@echo '== pytest'
	@$(BIN)/python -m pytest -n 2 --dist loadfile

bench: images ## measure beside a direct process, docker run, its bridge and a proxy; ARGS='--json FILE'
	@command -v tinyproxy >/dev/null \
		|| { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq tinyproxy-bin; }
	@$(BIN)/python -m tests.bench.bench $(ARGS)

clean: ## remove what was built in this folder; images and state stay
	rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find runtime tests -name __pycache__ -type d -prune -exec rm -rf {} +
