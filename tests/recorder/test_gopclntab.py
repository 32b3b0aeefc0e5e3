"""What Go programs say of themselves, beside what Go's own tools say of the same programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings import WORKLOADS
from tracelab.recorder import callframes as cf
from tracelab.recorder.elf import Elf, MemorySource, NotElf, open_regular
from tracelab.recorder.gopclntab import GoTable, go_table
from tracelab.recorder.images import Images
from tracelab.recorder.usersymbols import UserSymbols

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="go is missing; install golang-go")
NOBODY = 2**31 - 2  # no process has this number
BUILDS = {"as usual": [], "stripped": ["-ldflags=-s -w"], "position independent": ["-buildmode=pie"]}


@pytest.fixture(autouse=True)
def _no_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same program, built in several ways."""
    folder = tmp_path_factory.mktemp("go")
    found = {}
    for how, flags in BUILDS.items():
        found[how] = folder / how.replace(" ", "_")
        argv = ["go", "build", *flags, "-o", str(found[how]), str(WORKLOADS / "languages" / "busy.go")]
        subprocess.run(argv, check=True, timeout=300, env={**os.environ, "CGO_ENABLED": "0"})
    return found


def table_of(program: Path) -> tuple[Elf, GoTable]:
    """The table of a Go program."""
    source = open_regular(str(program))
    assert source is not None
    elf = Elf(source)
    table = go_table(elf)
    assert table is not None
    return elf, table


@pytest.mark.parametrize("how", ["as usual", "position independent"])
def test_functions_have_the_names_that_the_symbol_table_gives_them(
    programs: dict[str, Path], how: str
) -> None:
    _, table = table_of(programs[how])
    said = subprocess.run(["nm", programs[how]], capture_output=True, text=True, check=True).stdout
    symbols = {int(a, 16): name for a, name in re.findall(r"([0-9a-f]+) [tT] (\S.*)", said)}
    ours = {int(table.start[n]): table.name(n) for n in range(len(table.record))}
    both = ours.keys() & symbols.keys()
    assert len(both) > 1000
    odd = {a for a in both if ours[a] != symbols[a].removesuffix(".abi0") and "[" not in symbols[a]}
    assert len(odd) < 0.01 * len(both), [(ours[a], symbols[a]) for a in odd][:5]


def test_depths_are_those_that_its_dwarf_tells(programs: dict[str, Path]) -> None:
    _, table = table_of(programs["as usual"])
    rows = table.rows()
    order = np.argsort(rows.start, kind="stable")
    start, rule = rows.start[order], rows.rule[order]
    said = subprocess.run(
        ["readelf", "--debug-dump=frames-interp", programs["as usual"]],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    compared = 0
    for address, offset in re.findall(r"^([0-9a-f]{16}) rsp\+(\d+) ", said, re.M):
        n = int(np.searchsorted(start, int(address, 16), "right")) - 1
        followed = rule[n, cf.CFA_KIND] == cf.REGISTER and rule[n, cf.RA_KIND] == cf.AT_CFA
        if followed and int(offset) >= 8:  # else the return address itself was popped
            assert rule[n, cf.CFA_OFFSET] == int(offset), address
            compared += 1
    assert compared > 5000


def test_a_stripped_program_names_its_functions_itself(programs: dict[str, Path]) -> None:
    images = Images()
    image = images.find(NOBODY, 0, 4096, str(programs["stripped"]))
    assert image is not None and image.elf is not None
    _, table = table_of(programs["stripped"])
    named = {table.name(n): int(table.start[n]) for n in range(len(table.record))}
    inside = [
        named[name] + 1 - image.elf.load_address for name in ("main.work", "main.down", "runtime.mallocgc")
    ]
    frames = UserSymbols(images).frames(image, inside)
    assert [f[0].symbol for f in frames] == ["main.work", "main.down", "runtime.mallocgc"]


def test_what_is_no_go_program_has_no_table() -> None:
    source = open_regular(shutil.which("ls") or "/bin/ls")
    assert source is not None
    assert go_table(Elf(source)) is None


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_forged_table_is_survived(programs: dict[str, Path], data: st.DataObject) -> None:
    raw = bytearray(programs["stripped"].read_bytes())
    section = Elf(MemorySource(bytes(raw))).section(".gopclntab")
    assert section is not None
    for _ in range(data.draw(st.integers(1, 20))):
        near = data.draw(st.sampled_from([0, 64, 30_000, 150_000, 500_000]))
        raw[section.offset + near + data.draw(st.integers(0, 600))] = data.draw(st.integers(0, 255))
    try:
        table = go_table(Elf(MemorySource(bytes(raw))))
    except NotElf:
        return
    if table is not None:
        rows = table.rows()
        assert len(rows.start) == len(rows.rule)
        table.name(0)
