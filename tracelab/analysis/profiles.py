"""Stack samples as a Profile: the engine groups, NumPy puts the stacks together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tracelab.analysis import pythonstacks
from tracelab.analysis.documented import labels
from tracelab.errors import MissingTable, UsageError
from tracelab.profile import Frame, Profile
from tracelab.query import kernels
from tracelab.query.tables import Tables
from tracelab.recorder.probes import all_probes
from tracelab.schema import LOST_REASONS

QUANTITIES = {"on-CPU": "on-CPU time", "python": "Python wall time", "off-CPU": "off-CPU time", "wakeup": "waits ended"}
LEAST_WAIT_US = {"off-CPU": 1000.0, "wakeup": 1000.0}  #: unless --min-us says otherwise; as in bpf/offcpu.c
NO_STACK = Frame("[no stack]")
NO_FRAME = Frame("[frame not recorded]")
Ints = npt.NDArray[np.int64]


def profile(tables: Tables, kind: str = "on-CPU", by: str | None = None, *, python: bool = True) -> Profile:
    """The selected samples of a kind as weighted stacks, root first.

    With by="process" or "thread", the stacks of each stand on a frame of domain process, named after it.
    Python functions, where they were recorded, stand above the native frames that run them, unless python=False.
    `complete` tells of each stack whether unwinding reached the outermost frame; `notes` tell what was lost. An
    empty selection gives a profile without stacks.

    Samples of different kinds are never added up. Raises MissingTable when no stacks of that kind were sampled, with
    the probe that does it, and UsageError for another `by`.
    """
    if by not in (None, "process", "thread"):
        raise UsageError(f"by={by!r}: a profile is of everything (None), by 'process' or by 'thread'")
    with_python = python and kind != pythonstacks.KIND and pythonstacks.recorded(tables)
    if with_python:
        weights, merged = pythonstacks.joined(tables, kind, by, lambda ids: _Stacks.of(tables, ids))
    else:
        weights = kernels.stack_weights(tables, kind, by)
    if weights.empty and not (kind == pythonstacks.KIND and pythonstacks.recorded(tables)):
        _require(tables, kind)
    units = list(weights["unit"].unique())
    if len(units) > 1:
        raise UsageError(
            f"samples of kind {kind!r} have several units, {', '.join(units)}: they cannot be added up"
        )
    stacks = _Stacks(*merged[:4]) if with_python else _Stacks.of(tables, weights["stack_id"].to_numpy())
    roots: list[Frame] = []
    root_of: Ints | None = None
    if by is not None:
        root_of, names = pd.factorize(labels(weights, kernels.GROUPS[by]))
        roots = [Frame(str(name), domain="process") for name in names]
    offsets, flat = stacks.laid_out(root_of, len(roots))
    return Profile(
        frames=(*roots, *stacks.frames),
        offsets=offsets,
        stack_frames=flat,
        weights=weights["weight"].to_numpy(np.float64),
        quantity=QUANTITIES.get(kind, kind),
        unit=units[0] if units else "ns",
        name=_name(tables, kind),
        complete=(weights["unwound"] == "complete").to_numpy(bool),
        notes=_notes(tables, kind) + (merged.notes if with_python else ()),
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


@dataclass(frozen=True)
class _Stacks:
    """The stacks of some samples: frames by number, and a slice of `flat` for each sample."""

    frames: tuple[Frame, ...]
    flat: Ints  #: indexes into frames, stack after stack
    starts: Ints  #: where the stack of each sample begins in flat
    lengths: Ints

    @classmethod
    def of(cls, tables: Tables, stack_ids: Ints) -> _Stacks:
        """The stacks with these ids; one that is not in table stacks becomes the frame NO_STACK."""
        stored = tables.collect(tables.whole("stacks")).combine_chunks()
        ids, first = np.unique(stored["stack_id"].fill_null(-1).to_numpy(), return_index=True)
        lists = _one_chunk(stored["frames"])
        begin = lists.offsets.to_numpy().astype(np.int64)
        flat_ids = lists.values.fill_null(-1).to_numpy().astype(np.int64)
        place = np.searchsorted(ids, stack_ids)
        place[place == len(ids)] = 0
        known = (ids[place] == stack_ids) & (stack_ids >= 0) if len(ids) else np.zeros(len(stack_ids), bool)
        row = first[place] if len(ids) else np.zeros(len(stack_ids), np.int64)
        known &= (begin[row + 1] > begin[row]) if len(ids) else known
        starts = np.where(known, begin[row] if len(ids) else 0, len(flat_ids))
        lengths = np.where(known, begin[row + 1] - begin[row] if len(ids) else 0, 1)
        used = np.zeros(len(flat_ids) + 1, bool)
        used[_positions(starts, lengths)] = True
        frame_ids = np.unique(flat_ids[used[:-1]])
        flat = np.searchsorted(frame_ids, np.append(flat_ids, -1))
        flat[-1] = len(frame_ids)
        return cls((*_frames(tables, frame_ids), NO_STACK), flat, starts, lengths)

    def laid_out(self, root_of: Ints | None, roots: int) -> tuple[Ints, npt.NDArray[np.int32]]:
        """Offsets and frames of every sample's stack, on a root frame if each has one; roots come first."""
        extra = 0 if root_of is None else 1
        offsets = np.concatenate([[0], np.cumsum(self.lengths + extra)]).astype(np.int64)
        out = np.empty(offsets[-1], np.int32)
        inner = np.ones(len(out), bool)
        if root_of is not None:
            inner[offsets[:-1]] = False
            out[offsets[:-1]] = root_of
        out[inner] = self.flat[_positions(self.starts, self.lengths)] + roots
        return offsets, out


def _positions(starts: Ints, lengths: Ints) -> Ints:
    """The numbers starts[i] to starts[i] + lengths[i] - 1, one slice after the other."""
    before = np.cumsum(lengths) - lengths
    positions: Ints = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
    return positions


def _one_chunk(column: pa.ChunkedArray) -> pa.ListArray:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _frames(tables: Tables, frame_ids: Ints) -> list[Frame]:
    """The frames with these ids, which are sorted; NO_FRAME for one that table frames does not have."""
    rows = tables.collect(tables.whole("frames"))
    ids = rows["frame_id"].fill_null(-1).to_numpy()
    wanted = np.isin(ids, frame_ids)
    found = {
        row["frame_id"]: Frame(
            symbol=row["symbol"] or "",
            module=row["module"] or "",
            domain=row["domain"] or "user",
            file=row["file"] or "",
            line=row["line"] or 0,
            inlined=bool(row["inlined"]),
            build_id=row["build_id"] or "",
            offset=row["offset"] or 0,
        )
        for row in rows.filter(pa.array(wanted)).to_pylist()
    }
    return [found.get(int(number), NO_FRAME) for number in frame_ids]


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
