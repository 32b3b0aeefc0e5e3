"""The probes: every `bpf/*.c` is one, described by the front matter on its top.

Nothing lists them; a file that is there is found. The layout of a record is read from the C struct itself, so
that the kernel's side and NumPy's cannot drift apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tracelab.errors import UsageError

HEADER = "tracelab.h"
GROUPS = (
    "on-CPU",
    "scheduling",
    "process",
    "syscalls",
    "memory",
    "files and block",
    "network",
    "interrupts",
    "signals and locks",
    "user",
)
_C_TYPES = {
    "char": "S1",
    "u8": "u1",
    "u16": "u2",
    "u32": "u4",
    "u64": "u8",
    "s8": "i1",
    "s16": "i2",
    "s32": "i4",
    "s64": "i8",
}
_STRUCT = re.compile(r"struct (\w+) \{(.*?)\};", re.S)
_MEMBER = re.compile(r"(?:struct )?(\w+) (\w+)(?:\[([^\]]+)\])?;")
_DEFINE = re.compile(r"^#define (\w+) (\d+)\b", re.M)
_INCLUDE = re.compile(r'^#include "(\w+\.h)"$', re.M)
_MATTER = re.compile(r"^// ([a-z]+): +(.*)", re.M)
_REQUIRED = {"probe", "doc", "group", "table", "value", "attach", "needs"}


@dataclass(frozen=True, slots=True)
class KernelMember:
    """A member of a kernel struct that a probe reads."""

    macro: str  #: name that the source uses for its offset
    paths: tuple[str, ...]  #: "task_struct.pid"; other kernels' names for it follow
    optional: bool  #: the macro stays undefined where no path exists


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe, as its front matter says."""

    name: str
    doc: str
    table: str  #: where its rows go: events or samples
    value: str  #: meaning of column value
    unit: str  #: unit of column value
    attach: tuple[
        tuple[str, ...], ...
    ]  #: ways to attach, the best first: (("raw_tracepoint sys_enter", ...), ...)
    needs: str  #: oldest kernel
    source: Path
    group: str = ""  #: one of GROUPS
    kind: str = ""  #: of samples: on-CPU, off-CPU, ...
    events: str = (
        ""  #: "member namespace" or "member name name ..." that names its events; empty: the probe's own
    )
    rings: tuple[tuple[str, str], ...] = (("ring", "record"),)  #: each with the C struct of its records
    ret: str = ""  #: meaning of column ret
    size: str = ""  #: meaning of column size_bytes
    key: str = ""  #: meaning of column key
    cost: str = ""  #: what one event costs, and where that was measured
    also: tuple[str, ...] = ()  #: attached where the kernel has it
    addresses: tuple[str, ...] = ()  #: members that are socket addresses, which become texts
    function: str = ""  #: member that is the address of a kernel function, whose name becomes a text

    def text(self) -> str:
        """The C source, with the shared headers in place of their #include."""
        return _INCLUDE.sub(
            lambda m: (self.source.parent / m[1]).read_text(encoding="utf-8"),
            self.source.read_text(encoding="utf-8"),
        )

    def kernel_members(self) -> tuple[KernelMember, ...]:
        """The members of kernel structs that the source and its headers ask for."""
        found = []
        for key, line in _MATTER.findall(self.text()):
            for asked in line.split(",") if key == "kernel" else ():
                macro, paths = asked.split()
                optional = paths.endswith("?")
                found.append(KernelMember(macro, tuple(paths.rstrip("?").split("|")), optional))
        return tuple(found)

    def dtype(self, struct: str, macros: Mapping[str, object]) -> np.dtype[np.void]:
        """The NumPy type of a C struct in the source, padding included; `macros` override its defaults.

        Raises KeyError when there is no such struct.
        """
        text = self.text()
        values = {**dict(_DEFINE.findall(text)), **{k: str(v) for k, v in macros.items()}}
        bodies = dict(_STRUCT.findall(re.sub(r"/\*.*?\*/", "", text, flags=re.S)))
        return _struct_dtype(bodies, struct, values)


def bpf_dir() -> Path:
    """The folder of kernel-side programs: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "bpf", package.parent / "bpf"):
        if (folder / HEADER).is_file():
            return folder
    raise FileNotFoundError(f"no bpf/{HEADER} in or beside {package}; reinstall tracelab-ebpf")


@cache
def all_probes() -> dict[str, Probe]:
    """Every probe by name, found by its file being there."""
    probes = (read_probe(source) for source in sorted(bpf_dir().glob("*.c")))
    return {p.name: p for p in probes}


def read_probe(source: Path) -> Probe:
    """The probe in a file; raises ValueError for front matter that lacks something."""
    text = source.read_text(encoding="utf-8")
    lines = _MATTER.findall(text)
    matter = dict(lines)
    if missing := _REQUIRED - matter.keys():
        raise ValueError(f"{source}: front matter lacks {', '.join(sorted(missing))}")
    value, unit = (part.strip() for part in matter["value"].split(",")[:2])
    rings = [ring.split() for ring in matter.get("rings", "ring record").split(",")]
    return Probe(
        name=matter["probe"],
        doc=matter["doc"],
        table=matter["table"],
        value=value,
        unit=unit,
        attach=tuple(_list(line) for key, line in lines if key in ("attach", "or")),
        needs=matter["needs"],
        source=source,
        group=matter["group"],
        kind=matter.get("kind", ""),
        events=matter.get("event", ""),
        rings=tuple((name, struct) for name, struct in rings),
        ret=matter.get("ret", ""),
        size=matter.get("size", ""),
        key=matter.get("key", ""),
        cost=matter.get("cost", ""),
        also=tuple(where for key, line in lines if key == "also" for where in _list(line)),
        addresses=_list(matter.get("addresses", "")),
        function=matter.get("function", ""),
    )


def _list(line: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in line.split(",") if part.strip())


def _struct_dtype(bodies: Mapping[str, str], struct: str, values: Mapping[str, str]) -> np.dtype[np.void]:
    """The aligned layout of a struct; members of a nested struct appear as if they were its own."""
    members: list[tuple[str, np.dtype[Any], int]] = []
    end, alignment = 0, 1
    for kind, name, length in _MEMBER.findall(bodies[struct]):
        inner = None if kind in _C_TYPES else _struct_dtype(bodies, kind, values)
        base: np.dtype[Any] = np.dtype(_C_TYPES[kind]) if inner is None else inner
        start = -(-end // base.alignment) * base.alignment
        if inner is not None and inner.fields:
            members += [(n, f[0], start + f[1]) for n, f in inner.fields.items()]
        else:
            size = _product(length, values) if length else 0
            base = np.dtype(f"S{size}") if kind == "char" else np.dtype((base, (size,))) if length else base
            members.append((name, base, start))
        end = start + base.itemsize
        alignment = max(alignment, base.alignment)
    names, formats, offsets = zip(*members, strict=True)
    return np.dtype(
        {
            "names": names,
            "formats": formats,
            "offsets": offsets,
            "itemsize": -(-end // alignment) * alignment,
        },
        align=True,
    )


def _product(expression: str, values: Mapping[str, str]) -> int:
    result = 1
    for factor in expression.split("*"):
        word = factor.strip()
        result *= int(values.get(word, word))
    return result


@dataclass(frozen=True, slots=True)
class Asked:
    """Which probes to load, and of a probe which events; an empty set of events means all."""

    probes: dict[str, frozenset[str]]

    @classmethod
    def parse(cls, events: str | list[str] | tuple[str, ...]) -> Asked:
        """What `--events LIST` asks for: `probe`, `probe:event`, or the bare name of a syscall.

        >>> sorted(Asked.parse("oncpu,syscalls:read,write").probes["syscalls"])
        ['read', 'write']

        Raises UsageError for a name that is neither a probe nor a syscall.
        """
        words = events.split(",") if isinstance(events, str) else events
        found: dict[str, set[str]] = {}
        whole: set[str] = set()
        for word in (w.strip() for w in words):
            probe, _, event = word.partition(":")
            if probe not in all_probes() and not event:
                probe, event = "syscalls", word
            if probe not in all_probes():
                raise UsageError(f"no probe {probe!r}; there are: {', '.join(all_probes())}")
            if event and not all_probes()[probe].events:
                raise UsageError(
                    f"probe {probe} has one kind of event; ask for {probe!r} rather than {word!r}"
                )
            found.setdefault(probe, set())
            if event:
                found[probe].add(event)
            else:
                whole.add(probe)
        if not found:
            raise UsageError(f"no event asked for; there are the probes {', '.join(all_probes())}")
        return cls({p: frozenset() if p in whole else frozenset(e) for p, e in found.items()})
