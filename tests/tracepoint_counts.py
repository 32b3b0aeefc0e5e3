"""Counts of tracepoints, by a program that has nothing in common with the recorder's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tracelab.recorder.loader import import_bcc, own_headers

_COUNT = r"""
BPF_HASH(counts, u64, u64, 65536);
RAW_TRACEPOINT_PROBE(TRACEPOINT)
{
    u64 key = ctx->args[ARGUMENT], zero = 0, *n = counts.lookup_or_try_init(&key, &zero);
    if (n)
        __sync_fetch_and_add(n, 1);
    return 0;
}
"""


@contextlib.contextmanager
def counting(tracepoint: str, argument: int) -> Iterator[Callable[[int], int]]:
    """Count a raw tracepoint's calls by the value of one of its arguments.

    Yields a function that tells the count of a value so far.
    """
    text = _COUNT.replace("TRACEPOINT)", f"{tracepoint})").replace("ARGUMENT", str(argument))
    with own_headers():
        program = import_bcc().BPF(text=text.encode(), cflags=["-w"])
    counts = program[b"counts"]

    def count(value: int) -> int:
        return next((leaf.value for key, leaf in counts.items() if key.value == value), 0)

    try:
        yield count
    finally:
        program.cleanup()
