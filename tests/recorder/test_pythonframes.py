"""What py-spy writes, and what becomes of it; processes that are really read are in tests/kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from tracelab.profile import Frame
from tracelab.recorder import pyspy, pythonframes
from tracelab.recorder.pycalls import Calls
from tracelab.recorder.pyspy import Held, PySpy, _reason, _Trace, module_of
from tracelab.recorder.pythonframes import PythonFrames, _Rows


def trace(*lines: str, last_us: int = 1000) -> bytes:
    """A Chrome trace from lines `us phase thread pid name [file line]`, as py-spy writes it."""
    events = []
    for line in lines:
        at, phase, thread, pid, name, *where = line.split()
        file, number = (where[0], int(where[1])) if where else ("", 0)
        events.append(
            {
                "args": {"filename": file, "line": number},
                "cat": "py-spy",
                "name": name.replace("_", " ") if not where else name,
                "ph": phase,
                "pid": int(pid),
                "tid": int(thread),
                "ts": int(at),
            }
        )
    return json.dumps(events, separators=(",", ":")).encode() + b"\n"


ONE_THREAD = trace(
    "100 B 77 7 thread_(70):_MainThread",
    "100 B 77 7 <module> /srv/app.py 9",
    "100 B 77 7 heavy /srv/app.py 3",
    "300 E 77 7 heavy /srv/app.py 3",
    "300 B 77 7 heavy /srv/app.py 4",
    "600 E 77 7 heavy /srv/app.py 4",
    "1000 E 77 7 <module> /srv/app.py 9",
    "1000 E 77 7 thread_(70):_MainThread",
)
FORKED = trace(  # parent and child share what pthread_self() returns
    '100 B 77 7 process_7:"python"',
    "100 B 77 7 thread_(7):_MainThread",
    "100 B 77 7 parent /srv/app.py 1",
    "105 E 77 8 parent /srv/app.py 1",
    "105 E 77 8 thread_(7):_MainThread",
    '105 E 77 8 process_7:"python"',
    '105 B 77 8 process_8:"python"',
    "105 B 77 8 thread_(8)",
    "105 B 77 8 child /srv/app.py 2",
    "200 E 77 7 child /srv/app.py 2",
    "200 E 77 7 thread_(8)",
    '200 E 77 7 process_8:"python"',
    '200 B 77 7 process_7:"python"',
    "200 B 77 7 thread_(7):_MainThread",
    "200 B 77 7 parent /srv/app.py 1",
    "300 E 77 7 parent /srv/app.py 1",
    "300 E 77 7 thread_(7):_MainThread",
    '300 E 77 7 process_7:"python"',
)


def read(*blocks: bytes, last_ns: int = 5_001_000_000) -> list[tuple[int, int, int, int, str]]:
    """Stacks of a trace that ends at last_ns: begin and end in us after 5 s, process, thread and functions:lines."""
    parsed = _Trace()
    for block in blocks:
        parsed.feed(block)
    assert parsed.complete
    return [
        (
            (h.start_ns - 5_000_000_000) // 1000,
            (h.end_ns - 5_000_000_000) // 1000,
            h.pid,
            h.tid,
            shown(h.stack),
        )
        for h in parsed.held(last_ns)
    ]


def shown(stack: Sequence[Frame]) -> str:
    return ";".join(f"{f.symbol}:{f.line}" for f in stack)


def test_a_stack_lasts_until_the_next_one_of_its_thread() -> None:
    assert read(ONE_THREAD) == [
        (100, 300, 7, 70, "<module>:9;heavy:3"),
        (300, 600, 7, 70, "<module>:9;heavy:4"),
        (600, 1000, 7, 70, "<module>:9"),
    ]


def test_times_are_told_from_the_moment_of_the_last_event() -> None:
    later = read(ONE_THREAD, last_ns=5_001_500_000)
    assert [(begin, end) for begin, end, *_ in later] == [(600, 800), (800, 1100), (1100, 1500)]


def test_python_functions_carry_their_file_and_line() -> None:
    parsed = _Trace()
    parsed.feed(ONE_THREAD)
    assert next(iter(parsed.held(0))).stack[1] == Frame("heavy", "/srv/app.py", "python", "/srv/app.py", 3)


def test_forked_processes_are_told_apart_though_py_spy_gives_them_one_thread() -> None:
    assert read(FORKED, last_ns=5_000_300_000) == [
        (100, 105, 7, 7, "parent:1"),
        (105, 200, 8, 8, "child:2"),
        (200, 300, 7, 7, "parent:1"),
    ]


@pytest.mark.parametrize("text", [ONE_THREAD, FORKED], ids=["one thread", "forked"])
def test_it_does_not_matter_in_what_blocks_a_trace_comes(text: bytes) -> None:
    whole = read(text)
    for size in (1, 2, 7, 50, 333, 1000):
        assert read(*(text[i : i + size] for i in range(0, len(text), size))) == whole


def test_a_name_that_looks_like_the_end_of_an_event_is_a_name() -> None:
    hostile = ONE_THREAD.replace(b"/srv/app.py", json.dumps('},{"args":]\n')[1:-1].encode())
    assert [stack for *_, stack in read(*(hostile[i : i + 64] for i in range(0, len(hostile), 64)))] == [
        stack for *_, stack in read(ONE_THREAD)
    ]


def test_a_trace_without_stacks_gives_none() -> None:
    assert read(b"[]\n") == []


def test_a_trace_that_is_cut_off_is_known_to_be() -> None:
    parsed = _Trace()
    parsed.feed(ONE_THREAD[:-40])
    assert not parsed.complete


def test_a_module_is_a_path_below_its_library() -> None:
    assert [
        module_of(f"/x/lib/python3.13/{file}") for file in ("json/decoder.py", "site-packages/np/core.py")
    ] == [
        "json/decoder.py",
        "np/core.py",
    ]
    assert module_of("<frozen importlib._bootstrap>") == "<frozen importlib._bootstrap>"


def test_py_spys_reason_is_kept_without_its_backtrace() -> None:
    said = b"Error: Failed to suspend process\nReason: EPERM: Operation not permitted\n\nStack backtrace:\n 0: x\n"
    assert _reason(said) == "py-spy: Failed to suspend process; EPERM: Operation not permitted"
    assert _reason(b"") == "py-spy: ended without a word"


class Put:
    """Rows that were put, by table."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, object]]] = {"frames": [], "stacks": [], "samples": []}

    def __call__(self, table: str, batch: pa.RecordBatch) -> None:
        self.rows[table] += batch.to_pylist()

    def samples(self) -> list[tuple[object, ...]]:
        return [(s["time_ns"], s["weight"], s["tid"], s["stack_id"]) for s in self.rows["samples"]]


MAIN, HEAVY = Frame("<module>", "a.py", "python", "a.py", 1), Frame("heavy", "a.py", "python", "a.py", 2)


def test_every_frame_and_stack_is_written_once() -> None:
    put = Put()
    rows = _Rows(put, Calls())
    rows.put([Held(0, 10, 7, 7, (MAIN, HEAVY)), Held(10, 20, 7, 7, (MAIN,))], 0, 100, {})
    rows.put([Held(100, 110, 7, 7, (MAIN, HEAVY))], 100, 200, {})
    frames = [(1 << 30) + n for n in (1, 2)]
    stacks = [(1 << 40) + n for n in (1, 2)]
    assert [(f["frame_id"], f["symbol"], f["line"], f["domain"]) for f in put.rows["frames"]] == [
        (frames[0], "<module>", 1, "python"),
        (frames[1], "heavy", 2, "python"),
    ]
    assert [(s["stack_id"], s["frames"]) for s in put.rows["stacks"]] == [
        (stacks[0], frames),
        (stacks[1], frames[:1]),
    ]
    assert put.samples() == [(0, 10, 7, stacks[0]), (10, 10, 7, stacks[1]), (100, 10, 7, stacks[0])]
    assert {(s["kind"], s["unit"], s["unwound"], s["cpu"]) for s in put.rows["samples"]} == {
        ("python", "ns", "complete", None)
    }


def test_readers_that_overlap_do_not_tell_a_time_twice() -> None:
    put = Put()
    rows = _Rows(put, Calls())
    rows.put([Held(0, 60, 7, 7, (MAIN,)), Held(60, 90, 7, 7, (HEAVY,))], 0, 50, {})
    rows.put([Held(40, 80, 7, 7, (MAIN,))], 50, 1000, {})
    assert [(at, weight) for at, weight, *_ in put.samples()] == [(0, 50), (50, 30)]


def test_a_thread_that_is_gone_holds_its_stack_until_it_was_last_seen() -> None:
    put = Put()
    seen = {8: 1_000_000_000}
    _Rows(put, Calls()).put([Held(0, 9_000_000_000, 7, 8, (MAIN,))], 0, 9_000_000_000, seen)
    assert [weight for _, weight, *_ in put.samples()] == [1_000_000_000 + pythonframes.LOOK_NS]


def test_frames_that_go_on_in_their_callers_loop_are_marked() -> None:
    calls = Calls()
    module = {"name": "<module>", "filename": "a.py", "line": 1, "is_entry": True, "is_shim_entry": True}
    heavy = {"name": "heavy", "filename": "a.py", "line": 2, "is_entry": False, "is_shim_entry": False}
    key = {"name": "key", "filename": "a.py", "line": 7, "is_entry": False, "is_shim_entry": True}
    calls._learn([key, heavy, module])
    marked = calls.marked((MAIN, HEAVY, Frame("key", "a.py", "python", "a.py", 8)))
    assert [(f.symbol, f.inlined) for f in marked] == [("<module>", False), ("heavy", True), ("key", False)]
    elsewhere = (Frame("<module>", "b.py", "python", "b.py", 1), HEAVY)
    assert [f.inlined for f in calls.marked(elsewhere)] == [False, False]


def wait_for_note(frames: PythonFrames, seconds: float = 20.0) -> str:
    until = time.monotonic() + seconds
    while not frames.notes and time.monotonic() < until:
        time.sleep(0.01)
    return " ".join(frames.notes)


def test_a_process_that_is_gone_is_a_note() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    put = Put()
    frames = PythonFrames(put, 49)
    frames.follow(process.pid)
    note = wait_for_note(frames)
    frames.stop()
    assert note.startswith(f"no Python stacks of process {process.pid}: py-spy: ")
    assert put.rows == {"frames": [], "stacks": [], "samples": []}


def test_a_process_that_is_not_python_is_a_note() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        frames = PythonFrames(Put(), 49)
        frames.follow(process.pid)
        note = wait_for_note(frames)
        frames.stop()
        process.kill()
    assert note.startswith(f"no Python stacks of process {process.pid}: py-spy: ")
    assert "backtrace" not in note


def test_without_py_spy_the_note_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyspy, "py_spy", lambda: None)
    frames = PythonFrames(Put(), 49)
    frames.follow(os.getpid())
    assert "pip install py-spy" in wait_for_note(frames)
    frames.stop()


def test_a_py_spy_that_says_nothing_does_not_keep_a_recording_from_ending(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deaf = tmp_path / "py-spy"
    deaf.write_text(
        f"#!{sys.executable}\nimport signal, time\nsignal.signal(2, signal.SIG_IGN)\ntime.sleep(60)\n"
    )
    deaf.chmod(0o755)
    monkeypatch.setattr(pyspy, "py_spy", lambda: str(deaf))
    monkeypatch.setattr(pyspy, "END_S", 0.05)
    frames = PythonFrames(Put(), 49)
    frames.follow(os.getpid())
    frames.stop()
    assert not any(thread.is_alive() for thread in frames._threads)


def test_a_py_spy_that_fails_in_an_unforeseen_way_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> PySpy:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(pythonframes, "PySpy", fails)
    frames = PythonFrames(Put(), 49)
    frames.follow(os.getpid())
    assert "unforeseen" in wait_for_note(frames)
    frames.stop()


@pytest.mark.parametrize(
    ("sample_ns", "hz"), [(150_000, 98), (1_000_000, 30), (50_000_000, pythonframes.MIN_HZ)]
)
def test_a_process_whose_stacks_take_long_to_read_is_read_less_often(sample_ns: int, hz: int) -> None:
    frames = PythonFrames(Put(), 49)
    assert frames._affordable(sample_ns) == hz
    frames.stop()
