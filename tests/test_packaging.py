"""What is shipped: the wheel carries the kernel programs, the scripts and the licences, and works on its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="hatchling is missing; pip install 'tracelab-ebpf[test]'")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def build(source: Path, target: str, out: Path) -> Path:
    """Build the only file of kind `target` (wheel or sdist) from the tree `source` into `out`."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = out.iterdir()
    return made


def files_below(folder: Path, *suffixes: str) -> set[str]:
    """Paths, relative to `folder`, of the files that belong to the sources."""
    paths = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(folder).as_posix() for p in paths if not suffixes or p.suffix in suffixes}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def in_wheel(wheel) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def metadata(wheel, in_wheel):
    (name,) = (n for n in in_wheel if n.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(name).decode())


@pytest.mark.parametrize(("folder", "suffix"), [("bpf", ".c"), ("notebooks", ".ipynb")])
def test_the_wheel_carries_every_kernel_program_and_notebook(in_wheel, folder, suffix):
    sources = files_below(ROOT / folder)
    assert any(name.endswith(suffix) for name in sources)
    inside = f"tracelab/{folder}/"
    assert {n.removeprefix(inside) for n in in_wheel if n.startswith(inside)} == sources


def test_the_wheel_carries_the_package_with_its_scripts_styles_and_type_marker_and_nothing_else(in_wheel):
    package = {f"tracelab/{name}" for name in files_below(ROOT / "tracelab")}
    assert "tracelab/py.typed" in package
    elsewhere = ("tracelab/bpf/", "tracelab/notebooks/")
    others = {n for n in in_wheel if ".dist-info/" not in n and not n.startswith(elsewhere)}
    assert others == package


def test_the_licences_travel_with_the_wheel(metadata, in_wheel):
    assert metadata["License-Expression"] == "Apache-2.0 AND (GPL-2.0-only OR Apache-2.0)"
    texts = {name.split(".dist-info/licenses/")[1] for name in in_wheel if ".dist-info/licenses/" in name}
    assert texts == {"LICENSE", "LICENSES/GPL-2.0-only.txt", "bpf/LICENSE"}


def test_a_wheel_made_from_the_source_archive_has_the_same_files(sdist, in_wheel, tmp_path):
    shutil.unpack_archive(sdist, tmp_path / "unpacked")
    (tree,) = (tmp_path / "unpacked").iterdir()
    with zipfile.ZipFile(build(tree, "wheel", tmp_path / "wheel")) as archive:
        assert set(archive.namelist()) == in_wheel


def test_the_source_archive_has_what_its_readers_and_testers_need(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"README.md", "CHANGELOG.md", "LICENSE", "Makefile", "tests/conftest.py"} <= names
    assert {name for name in names if name.startswith((".venv", "build/"))} == set()


def test_an_installed_wheel_imports_from_its_own_folder_with_its_kernel_programs_beside_it(
    wheel, metadata, tmp_path
):
    pytest.importorskip("pip", reason="pip is missing from this environment")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--target", str(tmp_path), str(wheel)], check=True, timeout=120)
    code = """
import json, tracelab
from tracelab.recorder.probes import bpf_dir
print(json.dumps([tracelab.__file__, str(bpf_dir()), tracelab.__version__]))
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    package = tmp_path / "tracelab"
    assert json.loads(done.stdout) == [
        str(package / "__init__.py"),
        str(package / "bpf"),
        metadata["Version"],
    ]


@pytest.mark.parametrize("name", PROJECT["scripts"])
def test_a_console_script_names_something_that_can_be_called(name):
    assert callable(EntryPoint(name, PROJECT["scripts"][name], "console_scripts").load())


def test_the_conda_environment_asks_for_what_the_package_asks_for():
    """Each runtime dependency stands in environment.yml with the same bound, or comes with the project by pip."""
    lines = re.findall(r"^ +- (\S+)", (ROOT / "environment.yml").read_text(), flags=re.MULTILINE)
    conda = {re.split(r"[<>=]", line)[0]: line for line in lines}
    conda_name = {"duckdb": "python-duckdb"}
    only_on_pip = {"symbolic"}
    for dependency in PROJECT["dependencies"]:
        name, bound = re.fullmatch(r"([\w-]+)(.*)", dependency).groups()
        if name not in only_on_pip:
            assert conda[conda_name.get(name, name)] == conda_name.get(name, name) + bound
    assert conda["python"] == "python" + PROJECT["requires-python"]
