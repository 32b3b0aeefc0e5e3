from __future__ import annotations

from pathlib import Path

import numpy as np

from tracelab.recorder.functionnames import FunctionNames
from tracelab.recorder.probes import Probe
from tracelab.recorder.symbols import KernelSymbols

KALLSYMS = b"""ffffffff81000000 T _text
ffffffff81001000 t first_work
ffffffff81002000 T second_work
ffffffff81003000 T _etext
"""
FIRST, SECOND, UNKNOWN = 0xFFFFFFFF81001000, 0xFFFFFFFF81002000, 2**64 - 1
PROBE = Probe("timers", "", "events", "", "", (), "", Path(), events="number timer hrtimer")


def records(*rows: tuple[int, int, int, int]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    return np.array(list(rows), [("time_ns", "u8"), ("tid", "u4"), ("number", "u2"), ("key", "u8")])


def test_each_function_is_named_with_its_first_event_and_once() -> None:
    names = FunctionNames(lambda: KernelSymbols(KALLSYMS))
    told = names.texts(PROBE, "key", records((10, 1, 0, SECOND), (20, 2, 1, FIRST), (30, 3, 0, SECOND)))
    assert told is not None
    assert told.to_pylist() == [
        {
            "time_ns": 10,
            "tid": 1,
            "event": "timer",
            "text": "second_work",
            "truncated": 0,
            "field": "function",
        },
        {
            "time_ns": 20,
            "tid": 2,
            "event": "hrtimer",
            "text": "first_work",
            "truncated": 0,
            "field": "function",
        },
    ]
    assert names.texts(PROBE, "key", records((40, 1, 0, FIRST), (50, 1, 1, SECOND))) is None


def test_each_probe_is_told_the_names_of_its_own() -> None:
    names = FunctionNames(lambda: KernelSymbols(KALLSYMS))
    other = Probe("workqueues", "", "events", "", "", (), "", Path())
    for probe, event in ((PROBE, "timer"), (other, "workqueues")):
        told = names.texts(probe, "key", records((10, 1, 0, FIRST)))
        assert told is not None
        assert told["event"].to_pylist() == [event]


def test_what_is_no_function_has_no_name_and_the_kernel_is_not_asked() -> None:
    def fail() -> KernelSymbols:
        raise AssertionError

    assert FunctionNames(fail).texts(PROBE, "key", records((10, 1, 0, UNKNOWN), (20, 1, 0, 0))) is None


def test_an_address_that_the_kernel_hides_is_told_as_a_number() -> None:
    told = FunctionNames(lambda: KernelSymbols(b"")).texts(PROBE, "key", records((10, 1, 0, FIRST)))
    assert told is not None
    assert told["text"].to_pylist() == [f"[kernel]+{FIRST:#x}"]
