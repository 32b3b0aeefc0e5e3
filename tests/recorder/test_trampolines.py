"""CPython's perf trampolines, through which stacks go on without frame pointers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tracelab.recorder.perfmap import PerfMap

MAP = """\
7f0000000000 b py::heavy:/srv/app.py
7f0000000010 f py::light:/srv/app.py
7f0000000020 8 py::later:/srv/app.py
7f0000000030 b compiled_by_another_jit
"""


def perf_map(folder: Path, text: str) -> PerfMap:
    made = PerfMap(os.getpid())
    (folder / "perf.map").write_text(text)
    made._paths = (str(folder / "perf.map"),) * 2
    made.refresh()
    return made


def stack_at(made: PerfMap, first: int, until: int) -> list[int]:
    return made.stack_of_trampoline(
        np.arange(0x7F0000000000 + first, 0x7F0000000000 + until, dtype=np.uint64)
    ).tolist()


def test_between_its_first_and_last_instruction_a_trampoline_has_pushed_eight_bytes(tmp_path: Path) -> None:
    made = perf_map(tmp_path, MAP)
    assert stack_at(made, 0x0, 0x10) == [8] * 4 + [16] * 6 + [8] + [0] * 5
    assert stack_at(made, 0x10, 0x20) == [8] * 8 + [16] * 6 + [8] + [0]


def test_code_of_other_sizes_and_other_jits_is_left_to_its_frame_pointer(tmp_path: Path) -> None:
    made = perf_map(tmp_path, MAP)
    assert not any(stack_at(made, 0x20, 0x40))
    assert not any(stack_at(made, -0x20, 0))
    assert not any(stack_at(perf_map(tmp_path, ""), 0, 0x40))


def test_trampolines_that_are_made_later_are_known_once_the_map_is_read_again(tmp_path: Path) -> None:
    made = perf_map(tmp_path, MAP[:37])
    assert not any(stack_at(made, 0x10, 0x20))
    (tmp_path / "perf.map").write_text(MAP)
    made.refresh()
    assert stack_at(made, 0x1C, 0x1F) == [16, 16, 8]
