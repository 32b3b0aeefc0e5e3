"""Records of a ring by time: the kernel hands them over almost in order."""

from __future__ import annotations

import numpy as np

from tracelab.recorder.decode import in_order

RECORD = np.dtype([("time_ns", "u8"), ("tid", "u4"), ("cpu", "u2")])
SLOT = np.dtype({"names": ["length", "record"], "formats": ["u4", RECORD], "offsets": [0, 8], "itemsize": 24})


def slots_at(*times: int) -> np.ndarray:
    slots = np.zeros(len(times), SLOT)
    slots["record"]["time_ns"] = times
    slots["record"]["tid"] = np.arange(len(times))
    return slots


def test_records_come_out_by_time_each_in_one_piece() -> None:
    records = in_order(slots_at(10, 30, 20, 20, 40))
    assert records["time_ns"].tolist() == [10, 20, 20, 30, 40]
    assert records["tid"].tolist() == [0, 2, 3, 1, 4]


def test_records_that_are_in_order_are_not_copied() -> None:
    slots = slots_at(1, 2, 2, 3)
    assert np.shares_memory(in_order(slots), slots)


def test_none_and_one_are_in_order() -> None:
    assert len(in_order(slots_at())) == 0
    assert in_order(slots_at(7))["time_ns"].tolist() == [7]
