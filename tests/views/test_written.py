"""The views that are read: the summary of a session and the list of findings."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from tracelab.views.findings import FindingsView
from tracelab.views.summary import SessionFacts, SessionSummary
from views import hostile


@dataclass
class Finding:
    id: str
    title: str
    outcome: str
    severity: str | None = None
    actual: str = ""
    expected: str = ""
    why: str = ""
    action: str = ""
    evidence: pd.DataFrame | None = None


LOST = Finding(
    "events_lost",
    "Events were lost",
    "found",
    "bad",
    "20 of 1,000 events",
    "0 events",
    "Counts are too low.",
    "record fewer events",
    pd.DataFrame({"from_s": [8.0, 20.5], "lost": [12, 8], "idle_ns": [1_500_000, None]}),
)
UNKNOWN = Finding(
    "expensive_program", "A program is expensive", "not checked", why="table 'bpf_progs' was not recorded"
)
CLEAR = Finding(
    "poor_stacks", "Stacks are poor", "clear", None, "97 % complete", "95 % complete", "why", "do"
)
HINT = Finding(
    "one_event", "One event dominates", "found", "info", "read: 51 %", "50 %", "So it is.", "filter it"
)


def text_of(html: str) -> str:
    return re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.S))


def test_findings_stand_worst_first_with_their_outcome_in_words():
    view = FindingsView([CLEAR, UNKNOWN, HINT, LOST])
    assert view.table["id"].tolist() == ["events_lost", "one_event", "expensive_program", "poor_stacks"]
    assert view.headline() == "1 bad, 1 info, 1 not checked, 1 clear"
    words = re.findall(r"class='mark'>(.*?)</span>", view._repr_mimebundle_()["text/html"])
    assert words == ["✖ bad:", "● info:", "? not checked:", "✔ clear:"]


def test_a_finding_is_written_out_with_its_evidence():
    assert FindingsView([LOST, CLEAR]).to_text() == (
        "Findings: 1 bad, 1 clear\n"
        "\n"
        "[BAD] Events were lost (events_lost)\n"
        "  actual: 20 of 1,000 events\n"
        "  expected: 0 events\n"
        "  why: Counts are too low.\n"
        "  what to do: record fewer events\n"
        "  from_s  lost  idle_ns\n"
        "       8    12  1.50 ms\n"
        "    20.5     8        –\n"
        "\n"
        "[CLEAR] Stacks are poor (poor_stacks)\n"
        "  actual: 97 % complete\n"
        "  expected: 95 % complete"
    )


def test_no_findings_are_not_called_clear():
    assert FindingsView([]).to_text() == "Findings: nothing was checked"


def test_long_evidence_is_cut_and_the_rest_counted():
    finding = Finding("a", "b", "found", "bad", evidence=pd.DataFrame({"n": range(25)}))
    view = FindingsView([finding])
    assert view.to_text().endswith("\n  9\n  ... and 15 more rows")
    assert "<p class='soft'>15 more rows</p>" in view.to_html()


def facts(**changes) -> SessionFacts:
    known = {
        "title": "storm.tracelab",
        "host": "Linux 6.1, 2 CPUs",
        "duration_s": 12.5,
        "events": 1_000_000,
        "samples": 500,
        "lost": 0,
        "top_events": pd.DataFrame({"event": ["read"], "events": [1_000_000], "share": [1.0]}),
        "not_recorded": {"strings": "no probe records texts"},
    }
    return SessionFacts(**{**known, **changes})


def test_a_summary_has_the_numbers_and_says_what_was_not_recorded():
    assert SessionSummary(facts(own=12, size_bytes=3 << 20)).to_text() == (
        "storm.tracelab\n"
        "Linux 6.1, 2 CPUs\n"
        "  duration: 12.5 s\n"
        "  events: 1,000,000 (80,000 per second)\n"
        "  stack samples: 500 (40 per second)\n"
        "  lost: 0\n"
        "  of the recorder, left out: 12\n"
        "  on disk: 3 MiB\n"
        "top events\n"
        "  event     events  share\n"
        "  read   1,000,000  100 %\n"
        "not recorded\n"
        "  strings: no probe records texts"
    )


def test_missing_counts_are_not_zeros():
    numbers = SessionSummary(facts(events=None, samples=0, lost=None, duration_s=None)).numbers()
    assert numbers == {
        "duration": "not recorded",
        "events": "not recorded",
        "stack samples": "0",
        "lost": "not recorded",
    }


def test_losses_are_a_share_of_all_that_happened():
    assert SessionSummary(facts(events=900, samples=0, lost=100)).numbers()["lost"] == "100 (10 %)"


def test_a_session_that_is_not_complete_says_so():
    assert "the recorder died" in text_of(SessionSummary(facts(state="recovered")).to_html())
    assert "still recording" in text_of(SessionSummary(facts(state="recording")).to_html())
    assert "state: odd" in SessionSummary(facts(state="odd")).to_text()


def test_hostile_text_stays_text():
    bad = hostile.SCRIPT
    rows = pd.DataFrame({bad: hostile.STORABLE})
    texts = dict.fromkeys(("id", "title", "actual", "expected", "why", "action"), bad)
    views = [
        SessionSummary(
            facts(
                title=bad,
                host=bad,
                started=bad,
                state=bad,
                notes=hostile.TEXTS,
                top_events=rows,
                not_recorded={bad: bad},
            )
        ),
        FindingsView([Finding(**texts, outcome="found", severity=bad, evidence=rows)], title=bad),
    ]
    for view in views:
        bundle = view._repr_mimebundle_()
        for html in (bundle["text/html"], view.to_html()):
            assert not re.search(r"<(img|svg|script)", html)
            html.encode("utf-8")
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", bundle["text/plain"])


def test_samples_of_several_kinds_are_not_added_up_and_losses_are_of_rows():
    numbers = SessionSummary(
        facts(
            kinds={"off-CPU": 30, "on-CPU": 20},
            samples=50,
            events=1000,
            rows=90,
            lost=10,
            texts_lost=4,
            duration_s=None,
        )
    ).numbers()
    assert numbers["stack samples, off-CPU"] == "30"
    assert numbers["stack samples, on-CPU"] == "20"
    assert "stack samples" not in numbers
    assert (numbers["lost"], numbers["texts lost"]) == ("10 (10 %)", "4")
