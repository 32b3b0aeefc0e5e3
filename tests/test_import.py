"""Importing costs little: nothing heavy is loaded before it is used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
INSIDE_FUNCTIONS = ["plotly", "bcc", "IPython", "anywidget", "ipywidgets"]
HEAVY = ["pandas", "duckdb", "narwhals", "pyarrow", "symbolic", *INSIDE_FUNCTIONS]


def loaded_after(statements: str, packages: list[str]) -> list[str]:
    """Those of `packages` that a fresh interpreter has loaded after `statements`."""
    code = f"{statements}\nimport json, sys\nprint(json.dumps([p for p in {packages!r} if p in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_tracelab_loads_no_table_library_no_engine_no_plots_and_no_bcc():
    assert loaded_after("import tracelab", HEAVY) == []


def test_asking_for_the_version_loads_nothing_heavy_either():
    assert loaded_after("import tracelab; assert tracelab.__version__", HEAVY) == []


def test_every_module_can_be_imported_where_there_is_no_bcc_no_jupyter_and_no_plotly():
    statements = f"""
import importlib, pkgutil, sys
for name in {INSIDE_FUNCTIONS!r}:
    sys.modules[name] = None  # an import of it fails
import tracelab
def fail(name): raise
for module in pkgutil.walk_packages(tracelab.__path__, "tracelab.", onerror=fail):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in {INSIDE_FUNCTIONS!r}:
    del sys.modules[name]
"""
    assert loaded_after(statements, INSIDE_FUNCTIONS) == []
