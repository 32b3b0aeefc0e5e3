"""A large session's samples without a session: what views and differences are timed on.

Stacks grow as those of real programs do: each shares its outer frames with an older one, so that 20,000 stacks of 38
frames make some half a million nodes. A few stacks have most of the samples (Zipf). The same arguments give the same
samples on every machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tracelab.analysis.samples import SampleIndex
from tracelab.profile import Frame, Profile
from tracelab.query.tables import Tables
from tracelab.session.manifest import Manifest
from tracelab.session.reader import Store

START_NS = 1_000_000_000_000
PERIOD_NS = 10_101_010  #: of a sampler at 99 Hz
SHARED = 0.29  #: of a stack's frames that an older one has, on average
FUNCTIONS = 6_000
MODULES = ("[kernel]", "/usr/lib/libc.so.6", "/usr/bin/server", "/usr/lib/libssl.so.3", "/usr/bin/tracer", "[bpf]")
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def synthetic_index(
    samples: int = 5_000_000,
    stacks: int = 20_000,
    *,
    depth: int = 38,
    seconds: float = 300.0,
    cpus: int = 64,
    changed: dict[int, float] | None = None,
    seed: int = 1,
) -> SampleIndex:
    """An index of on-CPU samples, spread evenly over `seconds` from START_NS on.

    `changed` are stacks that have another share in the second half of the time, by number and factor: {3: 1.3} makes
    stack 3 a third more frequent. Stack 0 is the most frequent one. Processes are numbers from 100 on, comms unknown.
    """
    random = np.random.default_rng(seed)
    profile = synthetic_profile(stacks, depth=depth, seed=seed)
    share = _zipf(stacks, 10, 1.1)
    later = share.copy()
    for number, factor in (changed or {}).items():
        later[number] *= factor
    time_ns = START_NS + np.sort(random.integers(0, round(seconds * 1e9), samples))
    half = int(np.searchsorted(time_ns, START_NS + round(seconds * 5e8)))
    stack = np.concatenate([_drawn(random, share, half), _drawn(random, later, samples - half)]).astype(np.int32)
    weight = np.full(samples, float(PERIOD_NS))
    pid = (100 + stack % 97).astype(np.int32)
    return SampleIndex(
        tables=Tables(Store(Path("synthetic.tracelab"), _manifest(seconds))),
        kind="on-CPU",
        units=("ns",),
        time_ns=time_ns,
        pid=pid,
        tid=pid,
        cpu=random.integers(0, cpus, samples).astype(np.int32),
        weight=weight,
        stack=stack,
        profile=Profile(
            frames=profile.frames,
            offsets=profile.offsets,
            stack_frames=profile.stack_frames,
            weights=np.bincount(stack, weight, stacks).astype(np.float64),
            quantity="on-CPU time",
            unit="ns",
            name="synthetic",
            complete=np.ones(stacks, bool),
        ),
    )


def synthetic_profile(stacks: int = 20_000, *, depth: int = 38, seed: int = 1) -> Profile:
    """Distinct stacks of about `depth` frames that weigh 1 each; functions are called as often as Zipf says."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.normal(depth, depth / 5, stacks).round(), 4, 127).astype(np.int64)
    share = _zipf(FUNCTIONS, 3, 1.0)
    made = [_drawn(random, share, int(length)) for length in lengths]
    older = (random.random(stacks) * np.arange(stacks)).astype(np.int64)
    kept = random.beta(2, 2 / SHARED - 2, stacks)
    for i in range(1, stacks):  # in this order: a stack shares with one that is finished
        outer = made[older[i]]
        n = min(round(kept[i] * len(outer)), len(made[i]) - 1)
        made[i][:n] = outer[:n]
    return Profile(
        frames=tuple(_frame(i) for i in range(FUNCTIONS)),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        stack_frames=np.concatenate(made).astype(np.int32),
        weights=np.ones(stacks),
    )


def _zipf(count: int, first: int, power: float) -> Floats:
    share: Floats = (np.arange(count, dtype=np.float64) + first) ** -power
    return share


def _drawn(random: np.random.Generator, share: Floats, count: int) -> Ints:
    """Numbers as often as their share says."""
    upto = np.cumsum(share)
    drawn: Ints = np.searchsorted(upto, random.random(count) * upto[-1], "right")
    return drawn


def _frame(number: int) -> Frame:
    module = MODULES[number % len(MODULES)]
    domain = {"[kernel]": "kernel", "[bpf]": "bpf"}.get(module, "user")
    return Frame(f"function_{number}", module, domain, build_id="" if module.startswith("[") else f"{number % 6:040x}")


def _manifest(seconds: float) -> Manifest:
    return Manifest(start_ns=START_NS, end_ns=START_NS + round(seconds * 1e9), state="complete")
