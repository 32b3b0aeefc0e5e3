from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sessions import tables_of
from tracelab.analysis import pythonstacks
from tracelab.analysis.profiles import profile
from tracelab.query import Selection
from tracelab.query.tables import Tables

READ = {"achieved": {"python": {"7": {"hz": 50}}}}  # mean gap 20 ms: reach 30 ms, begun 5.4 ms earlier
FRAMES = """
    frame_id    symbol                         module       domain  inlined
    1           _start                         python3      user    0
    2           PyEval_EvalCode                python3      user    0
    3           _PyEval_EvalFrameDefault       python3      user    0
    4           list_sort                      python3      user    0
    5           _PyEval_EvalFrameDefault.cold  python3      user    0
    6           crc32                          libz         user    0
    7           do_syscall_64                  [kernel]     kernel  0
    8           main                           tool         user    0
    9           perf_mapped                    [jit]        python  0
    101         <module>                       app.py       python  0
    102         heavy                          app.py       python  1
    103         light                          app.py       python  1
    104         key                            app.py       python  0
    105         count                          app.py       python  1
"""
STACKS = """
    stack_id  frames
    1         1,2,3,6
    2         1,2,3,4,5,7
    3         1,6
    4         1,9,3,6
    5         1,8
    21        101,102
    22        101,103
    23        101,102,104,105
    24        -
"""


def stacks_of(
    folder: Path, samples: str, selected: Selection | None = None, by: str | None = None
) -> dict[str, float]:
    """Weights by stack, frames of the interpreter's loop as `loop`; `;` between frames, Python in brackets."""
    tables = tables_of(
        folder, samples=samples, stacks=STACKS, frames=FRAMES, tasks="time_s tid comm", manifest=READ
    )
    return folded(tables.narrowed(selected) if selected else tables)[0]


def folded(tables: Tables, by: str | None = None) -> tuple[dict[str, float], tuple[str, ...]]:
    """Weights by stack, and what is said of Python functions."""
    made = profile(tables, by=by)
    found: dict[str, float] = {}
    for stack, weight in made.stacks():
        frames = stack[1:] if by else stack
        names = [f"({f.symbol})" if f.domain == "python" else f.symbol.split(".")[0] for f in frames]
        key = ";".join(names).replace("_PyEval_EvalFrameDefault", "loop").replace("PyEval_EvalCode", "code")
        found[key] = found.get(key, 0) + weight
    return found, tuple(note for note in made.notes if "Python" in note)


def test_python_functions_stand_above_the_loop_that_runs_them_and_below_what_they_call(
    tmp_path: Path,
) -> None:
    samples = """
        time_s  pid  tid  stack_id  kind    weight
        1.00    7    7    21        python  100000000
        1.10    7    7    22        python  100000000
        1.05    7    7    1         on-CPU  10
        1.15    7    7    1         on-CPU  20
    """
    assert stacks_of(tmp_path, samples) == {
        "_start;code;loop;(<module>);(heavy);crc32": 10.0,
        "_start;code;loop;(<module>);(light);crc32": 20.0,
    }


def test_a_function_that_c_calls_stands_above_the_loop_that_c_began(tmp_path: Path) -> None:
    samples = """
        time_s  pid  tid  stack_id  kind    weight
        1.00    7    7    23        python  100000000
        1.05    7    7    2         on-CPU  10
    """
    assert stacks_of(tmp_path, samples) == {
        "_start;code;loop;(<module>);(heavy);list_sort;loop;(key);(count);do_syscall_64": 10.0
    }


def test_stacks_of_another_moment_lose_nothing_and_add_up_no_loop(tmp_path: Path) -> None:
    samples = """
        time_s  pid  tid  stack_id  kind    weight
        1.00    7    7    23        python  100000000
        1.10    7    7    21        python  100000000
        1.05    7    7    1         on-CPU  10
        1.15    7    7    2         on-CPU  20
    """
    assert stacks_of(tmp_path, samples) == {
        "_start;code;loop;(<module>);(heavy);(key);(count);crc32": 10.0,
        "_start;code;loop;(<module>);(heavy);list_sort;loop;do_syscall_64": 20.0,
    }


def test_each_thread_gets_its_own_stack(tmp_path: Path) -> None:
    samples = """
        time_s  pid  tid  stack_id  kind    weight
        1.00    7    7    21        python  100000000
        1.00    7    8    22        python  100000000
        1.05    7    7    1         on-CPU  10
        1.05    7    8    1         on-CPU  20
        1.05    7    9    1         on-CPU  40
    """
    assert stacks_of(tmp_path, samples) == {
        "_start;code;loop;(<module>);(heavy);crc32": 10.0,
        "_start;code;loop;(<module>);(light);crc32": 20.0,
        "_start;code;loop;crc32": 40.0,
    }


def test_stacks_without_a_loop_or_with_python_frames_of_their_own_stay_as_they_are(tmp_path: Path) -> None:
    samples = """
        time_s  pid  tid  stack_id  kind    weight
        1.00    7    7    21        python  100000000
        1.05    7    7    3         on-CPU  10
        1.06    7    7    4         on-CPU  20
        1.07    7    7    -         on-CPU  40
    """
    assert stacks_of(tmp_path, samples) == {
        "_start;crc32": 10.0,
        "_start;(perf_mapped);loop;crc32": 20.0,
        "[no stack]": 40.0,
    }


def test_other_processes_are_there_too_and_stay_as_they_are(tmp_path: Path) -> None:
    samples = """
        time_s  pid  tid  stack_id  kind    weight
        1.00    7    7    21        python  100000000
        1.05    9    9    1         on-CPU  10
        1.05    9    9    5         on-CPU  5
    """
    assert stacks_of(tmp_path, samples) == {"_start;code;loop;crc32": 10.0, "_start;main": 5.0}


@pytest.mark.parametrize(
    ("time_s", "python"),
    [
        (0.96, ""),
        (0.98, "heavy"),
        (1.05, "heavy"),
        (1.094, "heavy"),
        (1.096, "light"),
        (1.22, "light"),
        (1.24, ""),
    ],
)
def test_the_nearest_stack_is_taken_up_to_one_and_a_half_gaps_away(
    tmp_path: Path, time_s: float, python: str
) -> None:
    samples = f"""
        time_s    pid  tid  stack_id  kind    weight
        1.00      7    7    21        python  100000000
        1.10      7    7    22        python  100000000
        {time_s}  7    7    1         on-CPU  10
    """
    named = f"(<module>);({python});" if python else ""
    assert stacks_of(tmp_path, samples) == {f"_start;code;loop;{named}crc32": 10.0}


def test_a_selected_time_is_named_by_what_was_held_before_it_began(tmp_path: Path) -> None:
    samples = """
        time_s  pid  tid  stack_id  kind    weight
        1.00    7    7    21        python  3000000000
        2.50    7    7    1         on-CPU  10
        3.50    7    7    1         on-CPU  20
    """
    start = 1_000_000_000_000
    chosen = Selection(window_ns=(start + 2_000_000_000, start + 3_000_000_000))
    assert stacks_of(tmp_path, samples, chosen) == {"_start;code;loop;(<module>);(heavy);crc32": 10.0}


def test_what_is_not_known_is_told_as_a_share_of_the_time_of_interpreters_that_were_read(
    tmp_path: Path,
) -> None:
    samples = """
        time_s  pid  tid  stack_id  kind    weight
        1.00    7    7    21        python  100000000
        1.05    7    7    1         on-CPU  30
        1.06    7    7    3         on-CPU  1000
        4.00    7    7    1         on-CPU  10
        4.00    9    9    1         on-CPU  5000
    """
    tables = tables_of(
        tmp_path, samples=samples, stacks=STACKS, frames=FRAMES, tasks="time_s tid comm", manifest=READ
    )
    assert folded(tables)[1] == (
        "Python functions are known for 75.0% of the time of the interpreters that were read",
    )


@pytest.mark.parametrize("by", [None, "process", "thread"])
def test_no_weight_is_lost_whoever_it_is_grouped_by(tmp_path: Path, by: str | None) -> None:
    samples = """
        time_s  pid  tid  stack_id  kind     weight
        1.00    7    7    21        python   100000000
        1.05    7    7    1         on-CPU   10
        1.05    7    8    2         on-CPU   20
        1.05    9    9    -         on-CPU   40
        1.05    7    7    1         off-CPU  80
    """
    tasks = "time_s tid comm\n0 7 app\n0 8 worker\n0 9 cc"
    tables = tables_of(tmp_path, samples=samples, stacks=STACKS, frames=FRAMES, tasks=tasks, manifest=READ)
    assert sum(folded(tables, by)[0].values()) == 70


def test_only_a_recording_that_read_python_stacks_is_asked_for_them(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"samples": "time_s pid stack_id", "stacks": STACKS, "frames": FRAMES}
    assert not pythonstacks.recorded(tables_of(tmp_path / "a", **nothing))
    assert pythonstacks.recorded(tables_of(tmp_path / "b", **nothing, manifest=READ))
    assert folded(tables_of(tmp_path / "c", **nothing, tasks="time_s tid comm", manifest=READ))[0] == {}


def test_joining_agrees_with_looking_at_every_stack_of_the_thread() -> None:
    random = np.random.default_rng(5)
    begin = np.sort(random.choice(10_000_000_000, 300, replace=False))
    held = pd.DataFrame({"tid": np.repeat([1, 2, 3], 100), "time_ns": np.concatenate(np.split(begin, 3))})
    held["weight"] = random.integers(1, 200_000_000, 300)
    held["stack_id"] = np.arange(300)
    samples = pd.DataFrame(
        {"tid": random.integers(1, 5, 2000), "time_ns": random.integers(0, 10_000_000_000, 2000)}
    )
    found = pythonstacks.at_the_time(samples, held, hz=50)
    for (tid, at), number in zip(samples.itertuples(index=False), found, strict=True):
        own = held[held["tid"] == tid]
        away = np.maximum(own["time_ns"] - at, at - own["time_ns"] - own["weight"]).clip(lower=0)
        if number < 0:
            assert not len(own) or away.min() > 30_000_000 - 5_400_000
        else:
            chosen = held.loc[number]
            early = 5_400_000  # a stack may be taken to begin so much earlier
            assert chosen["tid"] == tid
            assert chosen["time_ns"] - at <= 30_000_000 + early
            assert at - chosen["time_ns"] - chosen["weight"] <= 30_000_000
