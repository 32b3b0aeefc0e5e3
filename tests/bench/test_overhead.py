from __future__ import annotations

from tracelab.bench.overhead import WORKS, Row, render
from tracelab.bench.tracer import Outcome


def _row(tool: str, slowdowns: list[float], **others: object) -> Row:
    return Row(tool, {work.name: slowdowns for work in WORKS}, **others)  # type: ignore[arg-type]


def test_a_row_tells_medians_of_slowdown_cpu_loss_and_bytes() -> None:
    outcomes = [Outcome(900, 100, 9000, 0), Outcome(1000, 0, 5000, 0), Outcome(800, 200, 8000, 0)]
    row = _row("ours", [1.5, 1.1, 1.2], cpu_share=[0.03, 0.01, 0.02], outcomes=outcomes)
    *_, last = render("every system call", [row]).splitlines()
    assert last.split() == ["ours", "1.20", "1.20", "1.20", "1.20", "2.0", "10.0", "10.0"]


def test_a_tool_that_keeps_no_events_has_neither_loss_nor_bytes() -> None:
    row = _row("counting", [1.0], cpu_share=[0.5], outcomes=[Outcome(0, 0, None, 0)])
    *_, last = render("every system call", [row]).splitlines()
    assert last.split() == ["counting", "1.00", "1.00", "1.00", "1.00", "50.0"]


def test_a_tool_that_was_not_run_is_named_with_the_reason() -> None:
    text = render("profile", [Row("BCC profile", refusal="no headers")])
    assert text.splitlines()[-1] == "BCC profile: not run: no headers"
