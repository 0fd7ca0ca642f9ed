# Two commands for a fresh machine: `make demo` (see an object followed) and `make test` (everything a change must pass).
# Needs Python 3.10 to 3.14. Choose one with PYTHON=python3.12. On machines where pip would bring a CUDA build of torch,
# PIP_EXTRA_INDEX_URL (an environment variable of pip) can name an index with the CPU build.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 2
# Old versions warn of what is new; only errors count there.
COMMA := ,
LOWEST_EXTRAS ?= cpu,mqtt,eval
LOWEST ?= tests/unit/core tests/unit/runtime tests/unit/eval tests/unit/cli/test_track.py tests/unit/cli/test_eval.py

# Installations take minutes: what they are, and each package as it comes.
define install
	@echo "installing $(1): a few minutes the first time"
	@$(PIP) install --progress-bar off -c constraints.txt -e ".[$(1)]" | sed -u -n -E "/^(Collecting|Installing|Successfully)/p"
endef

# What coverage is measured with: all tests but those of training, batches, studies and commands, and of the page in a browser.
COVERED := tests/unit/core tests/unit/model/test_whiten.py tests/unit/formats tests/unit/runtime tests/unit/export tests/unit/eval tests/contract tests/parity tests/streaming \
	$(filter-out tests/web/test_browser%,$(wildcard tests/web/test_*.py))

.PHONY: demo test announce check tests coverage audit wheel lowest interop docs bench clean

demo: .venv/.base
	$(BIN)/crwedge demo --out crwedge-demo

test: announce check tests

announce:
	@echo "make test: lint, types and import rules, then the tests: 11 minutes on two quiet cores (AMD EPYC)."
	@echo "The first time, packages are installed before (a few minutes). The ten slowest tests are listed at the end."

# The quick part: lint, types, who may import whom.
check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tests: .venv/.dev
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --durations 10

# Branch coverage of core, runtime and export without a GPU; it ends with the lines and branches that no test takes, and fails
# below the figure in pyproject.toml.
coverage: .venv/.dev
	@echo "tests under coverage: longer than make test; what no test takes is listed at the end"
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -n $(WORKERS) --dist loadfile $(COVERED)
	$(BIN)/coverage combine -q
	@for room in crwedge/core runtime export; do \
		echo "$$room: $$($(BIN)/coverage report --include "$$room/*" --format total --fail-under 0) %"; done
	$(BIN)/coverage report

# Known faults of the pinned versions, as PyPI lists them. What cannot be asked fails too (--strict): silence is no answer.
audit:
	$(PYTHON) -m venv --clear .venv-audit
	.venv-audit/bin/python -m pip --disable-pip-version-check install -q "pip-audit>=2.9"
	.venv-audit/bin/python -m pip_audit -r constraints.txt --no-deps --disable-pip --strict --progress-spinner off

# The wheel, in an environment of its own without torch, used from a folder that is not the repository.
wheel: .venv/.dev
	@echo "the wheel, alone in an environment without torch: about two minutes"
	rm -rf build dist .venv-wheel
	$(BIN)/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt "$$(ls dist/*.whl)[cpu]"
	! .venv-wheel/bin/python -c "import torch" 2>/dev/null
	out=$$(mktemp -d) && wheel=$(CURDIR)/.venv-wheel/bin/crwedge && cd / && $$wheel demo --out "$$out" --frames 12 && \
		test -s "$$out/sheet.png" && test -s "$$out/overlay.mp4" && rm -rf "$$out"
	rm -rf .venv-wheel

# The lowest versions that pyproject.toml allows, in an environment of its own, with the tests that need no PyTorch. About ten
# minutes on two cores, so it is not a part of `make test`. Those of training bring a PyTorch of several gigabytes:
#   make lowest LOWEST_EXTRAS=cpu,mqtt,eval,train,export LOWEST="tests/unit/model tests/unit/export tests/unit/adapt tests/unit/train"
lowest: .venv/.dev
	@echo "installing the lowest versions: a few minutes"
	$(PYTHON) -m venv --clear .venv-lowest
	$(BIN)/python tests/lowest.py $(subst $(COMMA), ,$(LOWEST_EXTRAS)) > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip --disable-pip-version-check install -q -c .venv-lowest/lowest.txt -e ".[$(LOWEST_EXTRAS)]" \
		"pytest>=8" "hypothesis>=6.100" "tomli>=2"
	.venv-lowest/bin/python -m pytest -q -W default $(LOWEST)

# The annotation formats and examples against the tools they are for, in an environment of its own: Datumaro wants an older Pillow.
interop: .venv/bin/python
	@echo "installing Datumaro, supervision and Rerun: about two minutes"
	$(PYTHON) -m venv --clear .venv-interop
	.venv-interop/bin/python -m pip --disable-pip-version-check install -q -e ".[interop]"
	.venv-interop/bin/python -m pytest -q -ra tests/unit/formats/test_other_tools.py tests/examples

# The documentation as a site, in site/; a dead link ends it.
docs: .venv/.dev
	$(PIP) install -q -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -q
	@echo "the documentation: site/index.html"

bench: .venv/.dev
	$(BIN)/python benchmarks/propagation.py

clean:
	rm -rf .venv .venv-wheel .venv-lowest .venv-interop .venv-audit build dist site crwedge-demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage*

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "crwedge needs Python 3.10 to 3.14; install one or set PYTHON=" >&2; exit 2; }
	@$(PYTHON) -c "import ensurepip" 2>/dev/null || { echo "installing python3-venv"; apt-get install -y -q python3-venv \
		|| { echo "install the package python3-venv (sudo apt-get install python3-venv)" >&2; exit 2; }; }
	$(PYTHON) -m venv .venv

.venv/.base: .venv/bin/python pyproject.toml constraints.txt
	$(call install,cpu)
	@touch $@

.venv/.dev: .venv/bin/python pyproject.toml constraints.txt
	$(call install,dev)
	@touch .venv/.base $@
