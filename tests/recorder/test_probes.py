from __future__ import annotations

from pathlib import Path

import pytest

from tracelab.errors import UsageError
from tracelab.recorder.loader import PROGRAM_TYPES
from tracelab.recorder.probes import GROUPS, Asked, KernelMember, Probe, all_probes, bpf_dir, read_probe

_FRONT = (
    "// probe: x\n// doc: d\n// group: user\n// table: events\n// value: v, 1\n"
    "// attach: a b\n// needs: Linux 5.8\n"
)
SOURCES = sorted(bpf_dir().glob("*.c"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.stem)
def test_a_probe_is_named_after_its_file_and_says_what_it_needs(source: Path) -> None:
    probe = all_probes()[source.stem]
    assert probe.table in ("events", "samples")
    assert probe.doc
    assert probe.unit
    assert probe.needs.startswith("Linux ")
    assert probe.group in GROUPS
    assert bool(probe.kind) == (probe.table == "samples")
    wheres = [where for way in probe.attach for where in way]
    assert {where.split()[0] for where in wheres} <= {*PROGRAM_TYPES, "uprobe", "usdt"}
    assert probe.cost
    assert "SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0" in source.read_text()


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.stem)
def test_every_record_tells_when_where_and_who(source: Path) -> None:
    record = all_probes()[source.stem].dtype("record", {})
    assert {"time_ns", "cpu", "pid", "tid"} <= set(record.names or ())
    assert record.itemsize % record.alignment == 0


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.stem)
def test_what_a_record_carries_is_explained(source: Path) -> None:
    probe = all_probes()[source.stem]
    members = set(probe.dtype("record", {}).names or ())
    if probe.table == "events":
        assert {name for name in ("ret", "key") if name in members} == {
            n for n in ("ret", "key") if getattr(probe, n)
        }
        assert ("size_bytes" in members) == bool(probe.size)
    if probe.events:
        assert probe.events.split()[0] in members


def test_front_matter_that_lacks_something_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "x.c"
    source.write_text("// probe: x\n// doc: nothing\n")
    with pytest.raises(ValueError, match="front matter lacks attach, group, needs, table, value"):
        read_probe(source)


def test_members_of_kernel_structs_are_named_with_what_other_kernels_call_them(tmp_path: Path) -> None:
    (tmp_path / "own.h").write_text("// kernel: AT_PID task_struct.pid\n")
    source = tmp_path / "x.c"
    source.write_text(
        _FRONT + '// kernel: AT_STATE task_struct.__state|task_struct.state, AT_X a.b?\n#include "own.h"\n'
    )
    assert read_probe(source).kernel_members() == (
        KernelMember("AT_STATE", ("task_struct.__state", "task_struct.state"), False),
        KernelMember("AT_X", ("a.b",), True),
        KernelMember("AT_PID", ("task_struct.pid",), False),
    )


def test_a_struct_is_laid_out_as_a_c_compiler_does(tmp_path: Path) -> None:
    source = tmp_path / "x.c"
    source.write_text(
        "#define N 3\n"
        "struct inner {\n\tu8 a; /* padding follows: u8 b; */\n\tu64 c;\n};\n"
        "struct record {\n\tu32 first;\n\tstruct inner in;\n\tu16 many[N * 2];\n\ts8 last;\n};\n"
    )
    probe = Probe("x", "", "events", "", "", (), "", source)
    record = probe.dtype("record", {})
    offsets = {name: record.fields[name][1] for name in record.names or ()} if record.fields else {}
    assert offsets == {"first": 0, "a": 8, "c": 16, "many": 24, "last": 36}
    assert record.itemsize == 40
    assert probe.dtype("record", {"N": 10})["many"].shape == (20,)


@pytest.mark.parametrize(
    ("asked", "probes"),
    [
        ("syscalls", {"syscalls": frozenset()}),
        ("oncpu,read,syscalls:write", {"oncpu": frozenset(), "syscalls": frozenset({"read", "write"})}),
        ("read,syscalls", {"syscalls": frozenset()}),
    ],
)
def test_a_list_of_events_names_probes_or_their_events(asked: str, probes: dict[str, frozenset[str]]) -> None:
    assert Asked.parse(asked).probes == probes


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("nope:x", "no probe 'nope'; there are: .*oncpu.*syscalls"),
        ("oncpu:x", "ask for 'oncpu' rather than 'oncpu:x'"),
    ],
)
def test_what_no_probe_has_is_refused(asked: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Asked.parse(asked)
