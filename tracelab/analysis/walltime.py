"""The wall-clock time of threads as one profile: on a CPU, waiting for something, or waiting for a CPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from tracelab.analysis.documented import labels
from tracelab.analysis.profiles import profile
from tracelab.errors import MissingTable
from tracelab.profile import Frame, Profile
from tracelab.query import kernels
from tracelab.query.selection import Selection
from tracelab.query.tables import Tables

KIND = "wall-clock"
THREAD = kernels.GROUPS["thread"]
ON_CPU, OFF_CPU = Frame("on-CPU", domain="process"), Frame("off-CPU", domain="process")
PREEMPTED = Frame("ready, another had the CPU", domain="process")
REST = Frame("waits too short to be sampled", domain="process")


def wall_profile(tables: Tables) -> Profile:
    """Each thread's life in the selected time, ns: below its frame what it did on CPUs, and where it waited.

    Stacks are root first: the thread, ON_CPU or OFF_CPU, then those of the samples. PREEMPTED has what probe
    runqueue measured, without stacks. REST is what remains of the thread's life: waits shorter than the least that
    probe offcpu took, and what sampling on the CPU missed by chance. Where samples stand for more than the thread's
    life, by chance too, there is no rest.

    Raises MissingTable without on-CPU or off-CPU samples.
    """
    parts = [profile(tables, "on-CPU", "thread"), profile(tables, "off-CPU", "thread")]
    if parts[0].unit != "ns":
        raise MissingTable("on-CPU time", "record with --events oncpu,offcpu")
    known = _by_thread(parts)
    preempted = _preempted(tables)
    rest = _life(tables).sub(known, fill_value=0).sub(preempted, fill_value=0)
    more = [((thread, PREEMPTED), ns) for thread, ns in _frames(preempted)]
    more += [((thread, REST), ns) for thread, ns in _frames(rest[rest > 0])]
    measured = Profile.from_stacks(more, unit="ns")
    return _together([_below(parts[0], ON_CPU), _below(parts[1], OFF_CPU), measured], parts)


def _by_thread(parts: Iterable[Profile]) -> pd.Series[float]:
    weights: dict[str, float] = {}
    for part in parts:
        first = part.stack_frames[part.offsets[:-1]] if len(part) else np.zeros(0, np.int32)
        for name, weight in zip((part.frames[i].symbol for i in first), part.weights, strict=True):
            weights[name] = weights.get(name, 0.0) + float(weight)
    return pd.Series(weights, dtype=float)


def _preempted(tables: Tables) -> pd.Series[float]:
    if "runqueue" not in tables.store.manifest.probes or not tables.has("events"):
        return pd.Series(dtype=float)
    found = kernels.event_totals(tables.narrowed(Selection(events=("preempted",))), "thread")
    found = found[(found["probe"] == "runqueue") & (found["value_sum"] > 0)]
    return pd.Series(found["value_sum"].to_numpy(float), index=list(labels(found, THREAD)))


def _life(tables: Tables) -> pd.Series[float]:
    """How long each thread lived under each name in the selected time, ns."""
    spans = kernels.task_spans(tables)
    if tables.selection.tids is not None:
        spans = spans[spans["tid"].isin(tables.selection.tids)]
    first, last = tables.window_ns
    begin, end = (spans[c].to_numpy(np.int64) for c in ("time_ns", "until_ns"))
    length = np.maximum(np.minimum(end, last) - np.maximum(begin, first), 0).astype(np.float64)
    lived: pd.Series[float] = pd.Series(length, index=list(labels(spans, THREAD))).groupby(level=0).sum()
    return lived


def _frames(weights: pd.Series[float]) -> list[tuple[Frame, float]]:
    return [(Frame(str(name), domain="process"), float(ns)) for name, ns in weights.items()]


def _below(part: Profile, state: Frame) -> Profile:
    """The same stacks with `state` behind their first frame."""
    flat = np.insert(part.stack_frames, part.offsets[:-1] + 1, len(part.frames)).astype(np.int32)
    offsets = part.offsets + np.arange(len(part) + 1)
    return replace(part, frames=(*part.frames, state), stack_frames=flat, offsets=offsets)


def _together(profiles: list[Profile], sampled: list[Profile]) -> Profile:
    shift = np.cumsum([0, *(len(p.frames) for p in profiles)])
    cells = np.cumsum([0, *(len(p.stack_frames) for p in profiles)])
    complete = [np.ones(len(p), bool) if p.complete is None else p.complete for p in profiles]
    return Profile(
        frames=tuple(frame for p in profiles for frame in p.frames),
        offsets=np.concatenate([[0], *(p.offsets[1:] + cells[i] for i, p in enumerate(profiles))]).astype(np.int64),
        stack_frames=np.concatenate([p.stack_frames + shift[i] for i, p in enumerate(profiles)]).astype(np.int32),
        weights=np.concatenate([p.weights for p in profiles]),
        quantity="wall-clock time of threads",
        unit="ns",
        name=sampled[0].name.replace(sampled[0].quantity, "wall-clock time of threads", 1),
        complete=np.concatenate(complete),
        notes=tuple(dict.fromkeys(note for p in sampled for note in p.notes)),
    )
