"""Findings as a page to read: what was found first, then what could not be checked, then what is clear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol, TypeGuard

import pandas as pd

from tracelab.views.markup import WrittenView, html_list, html_table, text_table
from tracelab.views.wording import escaped, visible


class FindingLike(Protocol):
    """What a finding must have to be shown; pitfalls make such objects."""

    @property
    def id(self) -> str:
        """Name of the pitfall."""
        ...

    @property
    def title(self) -> str:
        """What it is about, in a few words."""
        ...

    @property
    def outcome(self) -> str:
        """found, clear or not checked."""
        ...

    @property
    def severity(self) -> str | None:
        """bad, warning or info; None unless found."""
        ...

    @property
    def actual(self) -> str:
        """What was measured, with its unit."""
        ...

    @property
    def expected(self) -> str:
        """What would be in order, with its unit."""
        ...

    @property
    def why(self) -> str:
        """Why it matters, or why it could not be checked."""
        ...

    @property
    def action(self) -> str:
        """What to do about it."""
        ...

    @property
    def evidence(self) -> pd.DataFrame | None:
        """The rows that show it."""
        ...


_ORDER = {"bad": 0, "warning": 1, "info": 2, "not checked": 4, "clear": 5}  #: 3 is a severity unheard of
_MARKS = {"bad": "✖", "warning": "▲", "info": "●", "not checked": "?", "clear": "✔"}


def _kind(finding: FindingLike) -> str:
    return (finding.severity or "info") if finding.outcome == "found" else finding.outcome


class FindingsView(WrittenView):
    """A list of findings, the worst first; every one says in words what its colour says."""

    def __init__(self, findings: Sequence[FindingLike], *, title: str = "Findings") -> None:
        self.findings = sorted(findings, key=lambda finding: _ORDER.get(_kind(finding), 3))
        self.title = visible(title, 120)

    def __repr__(self) -> str:
        return f"<FindingsView: {self.headline()}>"

    def __len__(self) -> int:
        return len(self.findings)

    @property
    def table(self) -> pd.DataFrame:
        """One row per finding: id, outcome, severity, title, actual, expected, action."""
        columns = ["id", "outcome", "severity", "title", "actual", "expected", "action"]
        return pd.DataFrame([[getattr(f, c) for c in columns] for f in self.findings], columns=columns)

    def headline(self) -> str:
        """How many of each kind, in words."""
        counts = Counter(_kind(finding) for finding in self.findings)
        ordered = sorted(counts.items(), key=lambda item: _ORDER.get(item[0], 3))
        return ", ".join(f"{count} {kind}" for kind, count in ordered) or "nothing was checked"

    def to_text(self) -> str:
        """All findings as text, evidence included."""
        lines = [f"{self.title}: {self.headline()}"]
        for finding in self.findings:
            lines += ["", f"[{_kind(finding).upper()}] {visible(finding.title)} ({visible(finding.id)})"]
            lines += [f"  {name}: {visible(text)}" for name, text in _said(finding)]
            if _has_rows(finding.evidence):
                lines += ["  " + line for line in text_table(finding.evidence, 10).split("\n")]
        return "\n".join(lines)

    def _body(self) -> str:
        parts = [f"<h3>{escaped(self.title)}</h3><p class='soft'>{escaped(self.headline())}</p>"]
        for finding in self.findings:
            kind = _kind(finding)
            style = kind if kind in _MARKS else ""
            parts.append(
                f"<div class='finding {style}'><p><span class='mark'>{_MARKS.get(kind, '●')} {escaped(kind)}:</span> "
                f"{escaped(finding.title)} <code>{escaped(finding.id)}</code></p>{html_list(_said(finding))}"
            )
            if _has_rows(finding.evidence):
                is_open = " open" if finding.outcome == "found" else ""
                rows = len(finding.evidence)
                parts.append(
                    f"<details{is_open}><summary>evidence: {rows:,} {'row' if rows == 1 else 'rows'}</summary>"
                )
                parts.append(f"{html_table(finding.evidence, 10)}</details>")
            parts.append("</div>")
        return "".join(parts)


def _said(finding: FindingLike) -> list[tuple[str, str]]:
    """What a finding says, empty parts left out; a clear one is only measured against what is expected."""
    said = [("actual", finding.actual), ("expected", finding.expected)]
    if finding.outcome != "clear":
        said += [("why", finding.why), ("what to do", finding.action)]
    return [(name, text) for name, text in said if text]


def _has_rows(evidence: pd.DataFrame | None) -> TypeGuard[pd.DataFrame]:
    return evidence is not None and len(evidence) > 0
