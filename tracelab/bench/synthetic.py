"""Profiles of any size, the same ones in every run, for measuring what draws them."""

from __future__ import annotations

import numpy as np

from tracelab.profile import Frame, Profile

FUNCTIONS, MODULES = 4_000, 60
DEPTHS = (30, 60)  #: of the innermost frames, most near 39
DEEP, SHALLOW = 3.5, 0.09  #: frames that a stack usually adds to another one, and the share that adds many


def synthetic(nodes: int, seed: int = 7) -> Profile:
    """A profile whose tree of calls has about `nodes` nodes: deep, mostly unbranched, few stacks with most weight.

    Each stack has the beginning of an earlier one in common, most of them nearly all of it.
    """
    rng = np.random.default_rng(seed)
    stacks = [list(rng.integers(0, FUNCTIONS, 39))]
    made = 39
    while made < nodes:
        like = stacks[int(len(stacks) * rng.random() ** 1.5)]
        length = int(np.clip(rng.normal(39, 4), *DEPTHS))
        new = int(rng.integers(1, length)) if rng.random() < SHALLOW else int(rng.geometric(1 / DEEP))
        common = min(max(length - new, 1), len(like))
        stacks.append(like[:common] + list(rng.integers(0, FUNCTIONS, length - common)))
        made += length - common
    lengths = np.array([len(stack) for stack in stacks])
    return Profile(
        frames=_functions(rng),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        stack_frames=np.concatenate(stacks).astype(np.int32),
        weights=np.ceil(np.minimum(rng.pareto(1.2, len(stacks)), 5_000) + 0.01) * 1e7,
        quantity="on-CPU time",
        unit="ns",
        name=f"{nodes:,} nodes",
    )


def _functions(rng: np.random.Generator) -> tuple[Frame, ...]:
    module = rng.integers(0, MODULES, FUNCTIONS)
    return tuple(
        Frame(f"part{m}::Engine{i % 97}::step_{i}(int)", f"/usr/lib/libpart{m}.so") if m % 5 else
        Frame(f"do_part{m}_step_{i}", "[kernel]", domain="kernel")
        for i, m in enumerate(module.tolist())
    )
