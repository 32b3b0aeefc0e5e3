"""Which stacks have a function in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tracelab.query.tables import Tables


def with_frames(tables: Tables, symbols: Iterable[str]) -> list[int]:
    """The stack_ids of recorded stacks that have one of these symbols, sorted.

    Stacks are as they were recorded: Python functions are in stacks of kind python, not in the native ones.
    """
    frames = tables.collect(tables.whole("frames").select("frame_id", "symbol"))
    wanted = set(symbols)
    names = zip(frames["frame_id"].to_pylist(), frames["symbol"].to_pylist(), strict=True)
    ids = [number for number, name in names if name in wanted]
    stacks = tables.collect(tables.whole("stacks").select("stack_id", "frames")).combine_chunks()
    lists = stacks["frames"].combine_chunks() if stacks["frames"].num_chunks != 1 else stacks["frames"].chunk(0)
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(lists)), lengths)
    found = np.unique(row[np.isin(flat, ids)])
    numbers = stacks["stack_id"].to_numpy()[found]
    return sorted(int(number) for number in numbers)
