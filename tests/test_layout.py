"""What holds for every file of the repository, whoever wrote it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MADE = {
    ".git",
    ".venv",
    "build",
    "dist",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
}
# Where a file was made, and where packages came from, are nobody's business: both differ on the reader's machine.
MACHINE = re.compile(
    r"(?<![\w.}])/(?:root|work)/"
    r"|pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|deb\.debian\.org|crates\.io"
)


def repository_files() -> list[Path]:
    """Files that are, or could be, committed; all that are not known to be made when there is no git."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout.split(
            "\0"
        )
        paths = [ROOT / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [p for p in ROOT.rglob("*") if not MADE & set(p.relative_to(ROOT).parts)]
    return sorted(p for p in paths if p.is_file())


FILES = repository_files()
NOTEBOOKS = [p for p in FILES if p.suffix == ".ipynb"]
cells_of = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.name)


def code_cells(notebook: Path) -> list[dict]:
    return [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]


def test_no_file_names_the_machine_that_it_was_made_on():
    found = []
    for path in FILES:
        content = path.read_bytes()
        if b"\0" not in content[:8192]:  # text
            for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
                found += [f"{path.relative_to(ROOT)}:{number}: {m}" for m in MACHINE.findall(line)]
    assert found == []


def test_no_module_is_longer_than_450_lines():
    modules = [p for p in FILES if p.suffix == ".py" and "tracelab" in p.relative_to(ROOT).parts]
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in modules}
    assert {name: length for name, length in lengths.items() if length > 450} == {}


def test_every_kernel_source_states_both_of_its_licences_in_its_first_line():
    sources = [p for p in FILES if ROOT / "bpf" in p.parents and p.suffix in (".c", ".h")]
    assert sources
    wanted = "SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0"
    assert [str(p.relative_to(ROOT)) for p in sources if wanted not in p.read_text().split("\n", 1)[0]] == []


@cells_of
def test_a_notebook_is_kept_without_outputs(notebook):
    ran = [c for c in code_cells(notebook) if c["outputs"] or c["execution_count"] is not None]
    assert ran == [], "clear all outputs before committing: jupyter nbconvert --clear-output --inplace"


@cells_of
def test_a_notebook_defines_no_function_and_no_class(notebook):
    defined = []
    for cell in code_cells(notebook):
        source = "".join(cell["source"])
        if not source.startswith("%%"):
            lines = [line for line in source.splitlines() if not line.startswith(("%", "!"))]
            nodes = ast.walk(ast.parse("\n".join(lines)))
            defined += [
                n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            ]
    assert defined == []
