"""Stack samples as a Profile: of a kind, of what is selected, and by whom if asked."""

from __future__ import annotations

from dataclasses import replace

from tracelab.analysis import pythonstacks
from tracelab.analysis.namedstacks import NO_FRAME, NO_STACK
from tracelab.analysis.samples import sample_index
from tracelab.errors import MissingTable, UsageError
from tracelab.profile import Profile
from tracelab.query import kernels
from tracelab.query.tables import Tables
from tracelab.recorder.probes import all_probes
from tracelab.schema import LOST_REASONS

__all__ = ["GROUPS", "NO_FRAME", "NO_STACK", "profile", "shared_profile"]

QUANTITIES = {"on-CPU": "on-CPU time", "python": "Python wall time", "off-CPU": "off-CPU time", "wakeup": "waits ended"}
LEAST_WAIT_US = {"off-CPU": 1000.0, "wakeup": 1000.0}  #: unless --min-us says otherwise; as in bpf/offcpu.c
GROUPS = ("process", "thread", "comm", "cgroup", "cpu")  #: whose stacks may stand on a frame of their own


def profile(tables: Tables, kind: str = "on-CPU", by: str | None = None, *, python: bool = True) -> Profile:
    """The selected samples of a kind as weighted stacks, root first.

    With by="process", or another of GROUPS, the stacks of each stand on a frame of domain process, named after it.
    Python functions, where they were recorded, stand above the native frames that run them, unless python=False.
    `complete` tells of each stack whether unwinding reached the outermost frame; `notes` tell what was lost. An
    empty selection gives a profile without stacks.

    Samples of different kinds are never added up. Raises MissingTable when no stacks of that kind were sampled, with
    the probe that does it, and UsageError for another `by`.
    """
    return shared_profile(tables, kind, by, python=python).compact()


def shared_profile(
    tables: Tables, kind: str = "on-CPU", by: str | None = None, *, python: bool = True
) -> Profile:
    """The same with all stacks of the session, though most may weigh nothing in a short window.

    Such profiles of a session share their stacks, so that a flame graph of another window has no stack to fold again.
    """
    if by is not None and by not in GROUPS:
        raise UsageError(f"by={by!r}: a profile is of everything (None), or by {', '.join(GROUPS)}")
    index = sample_index(tables, kind, python=python)
    found = (index.by(by) if by else index).profile_of(tables.selection)
    if not found.weights.any() and not (kind == pythonstacks.KIND and pythonstacks.recorded(tables)):
        _require(tables, kind)
    if len(index.units) > 1:
        raise UsageError(
            f"samples of kind {kind!r} have several units, {', '.join(index.units)}: they cannot be added up"
        )
    return replace(
        found,
        quantity=QUANTITIES.get(kind, kind),
        unit=index.units[0] if index.units else "ns",
        name=_name(tables, kind),
        notes=_notes(tables, kind) + index.python_notes(tables.selection),
    )


def _require(tables: Tables, kind: str) -> None:
    """Raise MissingTable if the session says what it recorded, and it is nothing of that kind."""
    abouts = [tables.store.manifest.probes[name] for name in tables.probes_of("samples")]
    if abouts and kind not in {about.get("kind", "on-CPU") for about in abouts}:
        probes = [probe.name for probe in all_probes().values() if probe.kind == kind]
        if not probes:
            kinds = sorted({probe.kind for probe in all_probes().values() if probe.kind})
            raise UsageError(f"kind={kind!r}: samples are of kind {', '.join(kinds)}")
        raise MissingTable(f"samples of kind {kind}", f"record with --events {' or '.join(probes)}")


def _name(tables: Tables, kind: str) -> str:
    selected = tables.selection.describe(tables.start_ns)
    return QUANTITIES.get(kind, kind) + (f", {selected}" if selected else "")


def _notes(tables: Tables, kind: str) -> tuple[str, ...]:
    least_us = float(tables.store.manifest.options.get("min_us") or LEAST_WAIT_US.get(kind, 0))
    notes = [f"only waits of {least_us / 1000:g} ms or longer"] if kind in LEAST_WAIT_US else []
    if not tables.has("losses"):
        return (*notes, "not known whether samples were lost")
    found = kernels.loss_totals(tables)
    found = found[found["reason"].isin(LOST_REASONS)]
    probes = tables.store.manifest.probes
    sources = [p for p in tables.probes_of("samples") if probes[p].get("kind", kind) == kind]
    sampled = found[found["source"].isin(sources)]
    notes += [f"{n:,} samples lost ({r})" for n, r in zip(sampled["count"], sampled["reason"], strict=True)]
    if (found["source"] == "side-band").any():
        notes.append("mappings of processes were lost, so that some frames may have wrong names or none")
    return tuple(notes)
