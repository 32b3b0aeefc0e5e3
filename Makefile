# Every target does its own set-up and is quick when that is done already. What the targets need from the system
# is in .ci/system-packages, what they need from Python in pyproject.toml.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: demo test kernels nightly bench lint setup clean help

PYTHON_HERE := .venv/bin/python
PYTEST_ARGS ?=
KERNELS ?= running 6.1 6.12

demo: ## record a workload with eBPF, run the first notebook on it, print where the report is
	@.ci/system-packages demo
	@.ci/virtual-environment
	@$(PYTHON_HERE) -m tracelab demo

test: ## every test, real recordings and browser tests included where this machine can
	@.ci/system-packages test
	@.ci/virtual-environment
	@$(PYTHON_HERE) -m pytest $(PYTEST_ARGS)

kernels: ## the recorder's tests on this kernel and on Debian's 6.1 and 6.12 under qemu, in one matrix
	@.ci/system-packages kernels
	@.ci/virtual-environment
	@PYTHONPATH=tests $(PYTHON_HERE) -m kernels --kernels $(KERNELS) -- $(PYTEST_ARGS)

nightly: kernels ## what takes too long for every change: all kernels, and ten minutes at full rate
	@$(PYTHON_HERE) -m pytest -rP --soak 600 -o faulthandler_timeout=0 tests/kernel/test_faults.py -k memory

bench: ## what recording costs, beside BCC's callback, bpftrace, perf and trace-cmd, and drawing, beside speedscope
	@.ci/system-packages bench
	@.ci/virtual-environment
	@$(PYTHON_HERE) -m tracelab.bench
	@$(PYTHON_HERE) -m tracelab.bench.overhead
	@$(PYTHON_HERE) -m tracelab.bench.stacks
	@$(PYTHON_HERE) -m tracelab.bench.flamegraphs
	@$(PYTHON_HERE) -m tracelab.bench.views
	@$(PYTHON_HERE) -m tracelab.bench.difference

lint: ## ruff, mypy and the layers of imports
	@.ci/virtual-environment
	$(PYTHON_HERE) -m ruff check .
	$(PYTHON_HERE) -m mypy
	.venv/bin/lint-imports

setup: ## the system packages that recording needs, and .venv
	@.ci/system-packages setup
	@.ci/virtual-environment

clean: ## remove .venv and everything that was built or cached
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

help:
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r target what; do printf 'make %-7s %s\n' "$$target" "$$what"; done
