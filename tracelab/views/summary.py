"""What a session holds, at a glance: how long, how much, what was lost, and what was not recorded at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from tracelab.views.markup import WrittenView, html_list, html_table, text_table
from tracelab.views.wording import amount, digits, escaped, percent, visible


@dataclass(frozen=True)
class SessionFacts:
    """What a summary shows; None means that it was not recorded, which is not the same as 0."""

    title: str  #: name of the session
    state: str = "complete"  #: complete, recording or recovered
    host: str = ""  #: machine, kernel, CPUs and memory in one line
    started: str = ""  #: wall time of the beginning
    duration_s: float | None = None
    events: int | None = None  #: kernel events kept
    samples: int | None = None  #: stack samples kept
    kinds: Mapping[str, int] = field(default_factory=dict)  #: stack samples by kind
    rows: int | None = None  #: events and samples kept, as rows; None: as many as there are
    lost: int | None = None  #: events and samples that the kernel counted as lost, as rows
    texts_lost: int | None = None  #: texts that are missing of events that are not
    own: int | None = None  #: events of the recorder itself, left out on purpose
    size_bytes: int | None = None  #: on disk
    top_events: pd.DataFrame | None = None  #: a row per event, the most frequent first; any columns
    not_recorded: Mapping[str, str] = field(default_factory=dict)  #: what, and why or how to get it
    notes: tuple[str, ...] = ()


_STATES = {
    "complete": "",
    "recording": "still recording: numbers are those of this moment",
    "recovered": "recovered: the recorder died, what it had written is here",
}


def _kinds(facts: SessionFacts) -> dict[str, int]:
    """Numbers of samples by what to call them: kinds are not added up; empty when all are on-CPU."""
    if set(facts.kinds) <= {"on-CPU"}:
        return {}
    return {f", {visible(kind, 40)}": n for kind, n in facts.kinds.items()}


class SessionSummary(WrittenView):
    """The summary of a session that stands for it in a notebook."""

    def __init__(self, facts: SessionFacts) -> None:
        self.facts = facts
        self.title = visible(facts.title, 120)

    def __repr__(self) -> str:
        return f"<SessionSummary {self.title!r}>"

    @property
    def table(self) -> pd.DataFrame:
        """The table of top events; empty when there is none."""
        return pd.DataFrame() if self.facts.top_events is None else self.facts.top_events

    def numbers(self) -> dict[str, str]:
        """The main numbers, worded: "not recorded" where there is none."""
        facts, seconds = self.facts, self.facts.duration_s

        def count(value: int | None) -> str:
            return "not recorded" if value is None else f"{value:,}"

        def per_second(value: int | None) -> str:
            return f" ({digits(value / seconds)} per second)" if value and seconds else ""

        kept = [n for n in (facts.events, facts.samples) if n is not None]
        lost = count(facts.lost)
        if facts.lost and kept:
            rows = sum(kept) if facts.rows is None else facts.rows
            lost += f" ({percent(facts.lost / (facts.lost + rows))})"
        numbers = {
            "duration": "not recorded" if seconds is None else amount(seconds * 1e9, "ns"),
            "events": count(facts.events) + per_second(facts.events),
            **{
                f"stack samples{kind}": count(n) + per_second(n)
                for kind, n in _kinds(facts).items() or {"": facts.samples}.items()
            },
            "lost": lost,
        }
        if facts.texts_lost:
            numbers["texts lost"] = count(facts.texts_lost)
        if facts.own is not None:
            numbers["of the recorder, left out"] = count(facts.own)
        if facts.size_bytes is not None:
            numbers["on disk"] = amount(facts.size_bytes, "bytes")
        return numbers

    def to_text(self) -> str:
        """The summary as text."""
        facts = self.facts
        lines = [self.title, *(line for line in (facts.host, facts.started, self._state()) if line)]
        lines += [f"  {name}: {value}" for name, value in self.numbers().items()]
        if len(self.table):
            lines += ["top events", *("  " + line for line in text_table(self.table, 10).split("\n"))]
        if facts.not_recorded:
            lines += ["not recorded", *(f"  {what}: {hint}" for what, hint in facts.not_recorded.items())]
        return "\n".join(visible(line) for line in [*lines, *(f"note: {note}" for note in facts.notes)])

    def _state(self) -> str:
        return _STATES.get(self.facts.state, f"state: {self.facts.state}")

    def _body(self) -> str:
        facts = self.facts
        parts = [f"<h3>{escaped(self.title)}</h3>"]
        parts += [f"<p class='soft'>{escaped(line)}</p>" for line in (facts.host, facts.started) if line]
        parts += [f"<p class='state'>⚠ {escaped(self._state())}</p>"] if self._state() else []
        numbers = (f"<div><b>{escaped(v)}</b>{escaped(k)}</div>" for k, v in self.numbers().items())
        parts.append(f"<div class='numbers'>{''.join(numbers)}</div>")
        parts += [f"<p>⚠ {escaped(note)}</p>" for note in facts.notes]
        if len(self.table):
            parts += ["<h4>Top events</h4>", html_table(self.table, 10)]
        if facts.not_recorded:
            parts += ["<h4>Not recorded</h4>", html_list(facts.not_recorded.items())]
        return "".join(parts)
