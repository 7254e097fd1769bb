# Needs Python 3.11 or newer and nothing else; uv, or else pip, installs everything into .venv, with pip's own settings.

.DEFAULT_GOAL := help
.PHONY: help demo tables test matrix thorough coverage lint format docs imports bench faults soak independent stores dist clean

PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python .ci/install.py
# The tools of the handbook, apart from those of the code.
DOCS_VENV := .venv-docs
ARGS ?=
# Processes that share the tests; a test run of one file is quicker with WORKERS=0.
WORKERS ?= 2

# Airflow's processes start several times faster from compiled modules.
unexport PYTHONDONTWRITEBYTECODE

help: ## Show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.demo ## Run a whole job here: emulated Batch API, real Airflow, thousands of rows (ARGS=--help)
	@$(BIN)/python -m demo $(ARGS)

tables: $(VENV)/.demo ## Run a small job for each endpoint of the API and print the eight tables
	@$(BIN)/python -m demo.tables $(ARGS)

test: $(VENV)/.dev ## Run all tests (ARGS='tests/api -k upload' for some of them)
	$(BIN)/python -m pytest -n $(WORKERS) -m "not thorough" $(ARGS)

matrix: $(VENV)/.dev ## Run the tests on each supported Airflow and Python, and write docs/compatibility.md (ARGS=--list)
	$(BIN)/python -m tests.matrix $(ARGS)

thorough: $(VENV)/.dev ## Run what takes long: property tests with many examples, the fault suite, the demo stopped at each step
	$(BIN)/python -m tests.thorough $(ARGS)

coverage: $(VENV)/.dev ## Run all tests and print the lines and branches that they reach, subprocesses included
	rm -rf build/coverage && mkdir -p build/coverage
	-$(BIN)/python -m coverage run -m pytest -n $(WORKERS) -m "not thorough" $(ARGS)
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --sort=cover

lint: $(VENV)/.dev ## Check style, formatting, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/docstrings.py

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

imports: $(VENV)/.dev ## Draw which folder imports from which (needs Graphviz): docs/drawings/imports.svg
	$(BIN)/import-linter drawgraph airflow_provider_batch | tred \
		| sed -e 's/node \[fontname=helvetica\]/node [fontname="helvetica", shape=box, style="rounded,filled", fillcolor="#eef4fb", color="#5b7fa6"]; edge [color="#5b7fa6"]; bgcolor="transparent"/' \
			-e 's/label="\./label="/' -e 's/"\.exceptions"$$/".exceptions" [label="exceptions.py"]/' -e '/"\.get_provider_info"$$/d' \
		| dot -Tsvg | sed '/<!--/,/-->/d' > docs/drawings/imports.svg

docs: $(DOCS_VENV)/.docs ## Build the handbook into build/site, without network; a dead link fails
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/python -m mkdocs build --strict $(ARGS)

bench: $(VENV)/.dev ## Measure speed and memory beside other ways; writes docs/benchmarks.md (ARGS=--quick: two minutes)
	$(BIN)/python -m benchmarks $(ARGS)

faults: $(VENV)/.dev ## Disturb waits at each call, kill jobs at each boundary, check what came of them (ARGS='--every 10')
	$(BIN)/python -m tests.faults.waiting $(ARGS)
	$(BIN)/python -m tests.faults $(ARGS)

soak: $(VENV)/.dev ## Run 200,000 rows with failures and kills, then 200 tasks that wait together; print time and memory
	$(BIN)/python -m tests.faults.soak $(ARGS)
	$(BIN)/python -m tests.system.soak $(ARGS)
	$(BIN)/python -m tests.system.waiting

independent: $(VENV)/.dev ## Run the job against servers that others wrote (installs them below build/)
	$(BIN)/python -m tests.independent

stores: $(VENV)/.dev ## Run the tests of storage on the local disk, S3, Google Cloud Storage and Azure Blob (installs below build/)
	$(BIN)/python -m tests.stores $(ARGS)

# A fresh environment without development packages: an import that only developers can satisfy shows here.
dist: $(VENV)/.dev ## Build wheel and sdist, check them, and try the wheel in an environment without development packages
	@$(INSTALL) release
	rm -rf dist build/smoke && mkdir -p build/smoke
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m venv build/smoke/venv
	build/smoke/venv/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt dist/*.whl
	cd build/smoke && env -u PYTHONPATH AIRFLOW_HOME="$$PWD/home" AIRFLOW__CORE__LOAD_EXAMPLES=False \
		./venv/bin/python ../../.ci/smoke.py

clean: ## Remove the environment, caches, builds and the demo's results
	rm -rf $(VENV) $(DOCS_VENV) build dist .demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

%/.created:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and none was found. Say where: make demo PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Say which: make demo PYTHON=python3.12"; exit 1; }
	@rm -rf $*
	@echo "Making the environment $* with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $*
	@touch $@

$(VENV)/.demo: pyproject.toml constraints.txt $(VENV)/.created
	@$(INSTALL) demo
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@$(INSTALL) dev
	@touch $@

$(DOCS_VENV)/.docs: pyproject.toml constraints.txt $(DOCS_VENV)/.created
	@$(DOCS_VENV)/bin/python .ci/install.py docs
	@touch $@
