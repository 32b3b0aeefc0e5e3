"""Every probe with its cost and needs, and whether this kernel can: what `tracelab probes` prints."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from tracelab.errors import CannotRecord
from tracelab.recorder.loader import LoadedProbe, available_way, kernel_offsets
from tracelab.recorder.probes import GROUPS, Probe, all_probes


@dataclass(frozen=True, slots=True)
class Entry:
    """One probe on this machine."""

    probe: Probe
    attached: str  #: what it would attach to here; empty when it is not available
    why_not: str  #: why it is not available; empty when it is


def catalogue(*, load: bool = False) -> list[Entry]:
    """Every probe, by group and name. With `load`, each is compiled, verified and attached for a moment."""
    probes = sorted(all_probes().values(), key=lambda p: (GROUPS.index(p.group), p.name))
    return [_entry(probe, load) for probe in probes]


def text(entries: list[Entry], width: int = 110) -> str:
    """The catalogue for a terminal."""
    lines: list[str] = []
    group = ""
    for entry in entries:
        probe = entry.probe
        if probe.group != group:
            group = probe.group
            lines += ["", group] if lines else [group]
        state = f"attaches to {entry.attached}" if entry.attached else f"not available: {entry.why_not}"
        lines.append(f"  {probe.name}")
        value = f"{probe.value} ({probe.unit})" if probe.unit != "1" else probe.value
        for label, said in (
            ("", probe.doc),
            ("value  ", value),
            ("cost   ", probe.cost),
            ("needs  ", probe.needs),
            ("here   ", state),
        ):
            lines += textwrap.wrap(said, width, initial_indent=f"      {label}", subsequent_indent=" " * 13)
    return "\n".join(lines)


def _entry(probe: Probe, load: bool) -> Entry:
    try:
        way = available_way(probe)
        kernel_offsets(probe)
        if load:
            loaded = LoadedProbe(probe, {})
            try:
                loaded.attach(hz=49)
            finally:
                loaded.close()
    except CannotRecord as error:
        return Entry(probe, "", str(error))
    return Entry(probe, ", ".join(probe.attach[way]), "")
