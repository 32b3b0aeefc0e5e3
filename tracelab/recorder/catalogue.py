"""Every probe with its cost and needs, and whether this kernel can: what `tracelab probes` prints."""

from __future__ import annotations

import difflib
import re
import textwrap
from dataclasses import dataclass

from tracelab.errors import CannotRecord, UsageError
from tracelab.recorder.loader import LoadedProbe, available_way, kernel_offsets
from tracelab.recorder.probes import GROUPS, Probe, all_probes

ON_REQUEST = {"uprobes": "--uprobe", "usdt": "--usdt"}  #: probes that an option of their own asks for
_VALUE = re.compile(r"^// value: +(.*)", re.M)
_SAID_ANYWAY = re.compile(r"^probe \S+ is not available on this kernel \((.*)\); it needs .*", re.S)


@dataclass(frozen=True, slots=True)
class Entry:
    """One probe on this machine."""

    probe: Probe
    attached: str  #: what it would attach to here; empty when it is not available
    why_not: str  #: why it is not available; empty when it is
    loaded: bool = False  #: it was compiled, verified and attached, rather than looked at


def catalogue(name: str | None = None, *, load: bool = False) -> list[Entry]:
    """Every probe, or the one of that name, by group and name.

    With `load`, each is compiled, verified and attached for a moment, which takes seconds and needs root. Raises
    UsageError for a name that no probe has.
    """
    known = all_probes()
    if name is not None and name not in known:
        near = difflib.get_close_matches(name, known, 3) or sorted(known)
        raise UsageError(f"no probe {name!r}; there are: {', '.join(near)}")
    probes = [known[name]] if name is not None else known.values()
    return [_entry(p, load) for p in sorted(probes, key=lambda p: (GROUPS.index(p.group), p.name))]


def text(entries: list[Entry], width: int = 100) -> str:
    """The catalogue for a terminal: of each probe a line or two on what it records, its cost, and what is missing."""
    left = max((len(e.probe.name) for e in entries), default=0) + 4
    lines: list[str] = []
    for group in GROUPS:
        members = [e for e in entries if e.probe.group == group]
        lines += ["", group.capitalize() if group.islower() else group] if members else []
        for entry in members:
            lines += _wrapped(
                f"{'+' if entry.attached else '-'} {entry.probe.name}", entry.probe.doc, left, width
            )
            lines += _wrapped("", f"cost: {_bare(entry.probe.cost)}", left, width)
            if entry.why_not:
                lines += _wrapped("", f"not here: {entry.why_not}", left, width)
    can = sum(bool(e.attached) for e in entries)
    tried = ", which loaded and attached them" if any(e.loaded for e in entries) else ""
    about = f"+: {can} of {len(entries)} probes can be recorded on this kernel{tried}."
    about += " `tracelab probes NAME` tells everything about one."
    return "\n".join([*lines[1:], "", *textwrap.wrap(about, width)])


def details(entry: Entry, width: int = 100) -> str:
    """All that one probe's front matter says, for a terminal, and whether this kernel can."""
    probe = entry.probe
    column = "value" if probe.table == "events" else "weight"
    kernel = f"yes, by {entry.attached}" if entry.attached else f"no: {entry.why_not}"
    said = {
        "records": f"table {probe.table}" + (f", samples of kind {probe.kind}" if probe.kind else ""),
        column: _value(probe),
        "ret": probe.ret,
        "size_bytes": probe.size,
        "key": probe.key,
        "events": _events(probe),
        "texts": _texts(probe),
        "cost": probe.cost,
        "attach": "; or ".join(", ".join(way) for way in probe.attach),
        "also": ", ".join(probe.also),
        "needs": probe.needs,
        "here": f"{kernel} (loaded and attached)" if entry.loaded else kernel,
        "ask with": f"--events {probe.name}"
        if probe.name not in ON_REQUEST
        else f"{ON_REQUEST[probe.name]}; see `tracelab record --help`",
    }
    left = max(map(len, said)) + 4
    lines = textwrap.wrap(f"{probe.name}: {probe.doc}", width)
    return "\n".join(
        lines + [line for label, s in said.items() if s for line in _wrapped(f"  {label}", s, left, width)]
    )


def _wrapped(label: str, said: str, left: int, width: int) -> list[str]:
    return textwrap.wrap(
        said, width, initial_indent=label.ljust(left), subsequent_indent=" " * left, break_on_hyphens=False
    )


def _bare(cost: str) -> str:
    """A cost without where it was measured, which stands in brackets or after a semicolon.

    >>> _bare("0.1 us a wakeup, 5 us one that is kept; on a VM with 2 CPUs"), _bare("80 ns a call (make bench)")
    ('0.1 us a wakeup, 5 us one that is kept', '80 ns a call')
    """
    return re.sub(r"(;|,)? (on|in) a (busy )?VM\b[^;,]*", "", re.sub(r" \([^)]*\)", "", cost)).strip(" ;,")


def _value(probe: Probe) -> str:
    """What the value is: all of its line in the front matter, of which a Probe has meaning and unit."""
    line = _VALUE.search(probe.text())
    said = [part.strip() for part in line[1].split(",")] if line else [probe.value, probe.unit]
    return ", ".join(part for i, part in enumerate(said) if (i, part) != (1, "1"))


def _events(probe: Probe) -> str:
    """The names of a probe's events, or what they are named after."""
    member, _, names = probe.events.partition(" ")
    if not member:
        return probe.name if probe.table == "events" else ""
    after = {"syscall": "the name of each system call", "asked": "each site that was asked for"}
    return after.get(names, ", ".join(dict.fromkeys(names.split())))


def _texts(probe: Probe) -> str:
    """The fields of table strings that a probe fills."""
    types = [probe.dtype(struct, {}) for _, struct in probe.rings]
    members = [name for t in types for name in t.names or () if t[name].kind == "S"]
    fields = [*members, *(["function"] if probe.function else [])]
    return ", ".join(fields) + (", with --paths" if "#ifndef PATHS\n" in probe.text() else "")


def _entry(probe: Probe, load: bool) -> Entry:
    try:
        way = available_way(probe)
        kernel_offsets(probe)
        loaded = load and _attaches(probe)
    except CannotRecord as error:
        short = _SAID_ANYWAY.match(str(error))
        return Entry(probe, "", short[1] if short else str(error))
    return Entry(probe, ", ".join(probe.attach[way]), "", loaded)


def _attaches(probe: Probe) -> bool:
    """Load and attach a probe for a moment; false for one that has nothing to attach to until it is asked for."""
    loaded = LoadedProbe(probe, {})
    try:
        loaded.attach(hz=49)
        return bool(loaded.prog_fds())
    finally:
        loaded.close()
