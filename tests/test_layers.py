"""The direction of imports: the contract in pyproject.toml, and which layers may import which outside package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

grimp = pytest.importorskip("grimp", reason="import-linter is missing; pip install 'tracelab-ebpf[test]'")

ROOT = Path(__file__).parents[1]
BELOW_QUERY = {"errors", "schema", "profile", "session", "recorder", "formats"}


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("tracelab", include_external_packages=True, cache_dir=None)


def layers_importing(graph, package: str) -> set[str]:
    """Layers with a module that imports `package` anywhere, inside functions too."""
    if package not in graph.modules:
        return set()
    importers = graph.find_modules_that_directly_import(package)
    return {importer.split(".")[1] if "." in importer else importer for importer in importers}


def test_imports_go_down_the_layers_and_every_module_has_its_layer(capsys, monkeypatch):
    from importlinter.cli import lint_imports

    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == 0, capsys.readouterr().out


def test_bcc_is_imported_by_the_recorder_and_the_benchmark_that_compares_with_it_only(graph):
    assert layers_importing(graph, "bcc") <= {"recorder", "bench"}


def test_tables_are_arrow_below_the_query_layer(graph):
    assert layers_importing(graph, "pandas") & BELOW_QUERY == set()
