"""A large session of events and samples that nobody recorded: what views of 10^7 and 10^8 events are timed on.

Rates follow a slow wave with bursts of a hundredth of a second, a few kinds of events have most of them, and so have a
few processes. The same arguments give the same session on every machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from tracelab.bench.synthetic_samples import synthetic_profile
from tracelab.schema import arrow_schema
from tracelab.session.manifest import Manifest
from tracelab.session.writer import SessionWriter

START_NS = 1_000_000_000_000
BATCH = 1_000_000
EVENTS, PROCESSES, CPUS = 40, 300, 64
PROBES = {
    "syscalls": {"table": "events", "value": {"meaning": "duration", "unit": "ns"}},
    "oncpu": {"table": "samples", "kind": "on-CPU", "value": {"meaning": "on-CPU time", "unit": "ns"}},
}


def synthetic_session(
    path: Path, events: int, *, samples: int = 0, stacks: int = 2000, seconds: float = 600.0, seed: int = 1
) -> Path:
    """Write a closed session of so many events and on-CPU samples into a new folder."""
    random = np.random.default_rng(seed)
    end_ns = START_NS + round(seconds * 1e9)
    writer = SessionWriter(path, Manifest(start_ns=START_NS, end_ns=end_ns, probes=PROBES))
    for table in ("losses", "tasks", "events", "samples", "stacks", "frames"):
        writer.manifest.tables[table] = {"rows": 0}
    writer.append("tasks", _tasks())
    batches = max(1, -(-events // BATCH))
    edges = np.linspace(START_NS, end_ns, batches + 1)
    for i in range(batches):
        rows = min(BATCH, events - i * BATCH)
        if rows:
            writer.append("events", _events(random, rows, int(edges[i]), int(edges[i + 1])))
    if samples:
        _stacks(writer, stacks, seed)
        writer.append("samples", _samples(random, samples, stacks, end_ns))
    writer.close()
    return path


def _zipf(random: np.random.Generator, kinds: int, rows: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    share = 1 / np.arange(1, kinds + 1) ** 1.1
    return random.choice(kinds, rows, p=share / share.sum()).astype(np.int32)


def _times(random: np.random.Generator, rows: int, first: int, last: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Sorted times, a twentieth of them in bursts of 10 ms."""
    times = random.integers(first, last, rows)
    bursts = random.integers(first, max(last - 10_000_000, first + 1), 8)
    some = random.random(rows) < 0.05
    times[some] = random.choice(bursts, int(some.sum())) + random.integers(0, 10_000_000, int(some.sum()))
    return np.sort(times)


def _words(numbers: np.ndarray[tuple[int], np.dtype[np.int32]], words: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array(words))


def _batch(table: str, rows: int, given: dict[str, pa.Array]) -> pa.RecordBatch:
    arrays = [given.get(f.name, pa.nulls(rows, f.type)) for f in arrow_schema(table)]
    return pa.RecordBatch.from_arrays(arrays, names=[f.name for f in arrow_schema(table)])


def _events(random: np.random.Generator, rows: int, first: int, last: int) -> pa.RecordBatch:
    process = _zipf(random, PROCESSES, rows)
    pid = pa.array(1000 + process)
    return _batch(
        "events",
        rows,
        {
            "time_ns": pa.array(_times(random, rows, first, last)),
            "cpu": pa.array(random.integers(0, CPUS, rows, dtype=np.int32)),
            "pid": pid,
            "tid": pid,
            "probe": _words(np.zeros(rows, np.int32), ["syscalls"]),
            "event": _words(_zipf(random, EVENTS, rows), [f"call_{i}" for i in range(EVENTS)]),
            "value": pa.array(random.lognormal(8, 1.5, rows).astype(np.int64)),
            "weight": pa.array(np.ones(rows, np.int32)),
        },
    )


def _samples(random: np.random.Generator, rows: int, stacks: int, end_ns: int) -> pa.RecordBatch:
    pid = pa.array(1000 + _zipf(random, PROCESSES, rows))
    return _batch(
        "samples",
        rows,
        {
            "time_ns": pa.array(np.sort(random.integers(START_NS, end_ns, rows))),
            "cpu": pa.array(random.integers(0, CPUS, rows, dtype=np.int32)),
            "pid": pid,
            "tid": pid,
            "stack_id": pa.array(_zipf(random, stacks, rows).astype(np.int64)),
            "kind": _words(np.zeros(rows, np.int32), ["on-CPU"]),
            "weight": pa.array(np.full(rows, 10_101_010, np.int64)),
            "unit": _words(np.zeros(rows, np.int32), ["ns"]),
            "unwound": _words(np.zeros(rows, np.int32), ["complete"]),
        },
    )


def _stacks(writer: SessionWriter, stacks: int, seed: int) -> None:
    profile = synthetic_profile(stacks, seed=seed)
    frames = pa.array([f.symbol for f in profile.frames]), pa.array([f.module for f in profile.frames])
    domains = pa.array([f.domain for f in profile.frames])
    ids = pa.array(np.arange(len(profile.frames), dtype=np.int32))
    about = {"frame_id": ids, "symbol": frames[0], "module": frames[1], "domain": domains}
    writer.append("frames", _batch("frames", len(profile.frames), about))
    lists = pa.ListArray.from_arrays(pa.array(profile.offsets.astype(np.int32)), pa.array(profile.stack_frames))
    writer.append("stacks", _batch("stacks", stacks, {"stack_id": pa.array(np.arange(stacks)), "frames": lists}))


def _tasks() -> pa.RecordBatch:
    pid = pa.array(1000 + np.arange(PROCESSES, dtype=np.int32))
    given = {
        "time_ns": pa.array(np.full(PROCESSES, START_NS)),
        "tid": pid,
        "pid": pid,
        "change": pa.array(["seen"] * PROCESSES),
        "comm": pa.array([f"server_{i % 20}" for i in range(PROCESSES)]),
    }
    return _batch("tasks", PROCESSES, given)
