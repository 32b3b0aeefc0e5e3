"""Pitfalls: mistakes in tracing that a session gives away. One file each, found by being in this folder.

A pitfall is a function of the same name as its file, marked by `@pitfall`. It takes the tables of a session,
narrowed to what is selected, and returns what it found or that all is clear; where a table that it needs was not
recorded it is "not checked", which is neither. Its thresholds are keyword defaults, and its docstring is its
manual page: What it does / Why it costs (or misleads) / What to do / Source.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd

from tracelab.errors import MissingTable, UsageError
from tracelab.query.tables import Tables
from tracelab.schema import TABLES

Outcome = Literal["found", "clear", "not checked"]
Severity = Literal["bad", "warning", "info"]
_RANK = {"bad": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit.

    >>> str(Quantity(0.0123, "of all events")), str(Quantity(1234.5, "ns"))
    ('1.23 % of all events', '1,234 ns')
    """

    value: float
    unit: str  #: one that begins with "of" makes the value a share, written as per cent

    def __str__(self) -> str:
        value, sign = (100 * self.value, " %") if self.unit.startswith("of ") else (self.value, "")
        number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        return f"{number}{sign} {self.unit}"


@dataclass(frozen=True)
class Finding:
    """What one pitfall came to in one session."""

    outcome: Outcome
    title: str = ""  #: what was found, or looked for, in a few words
    severity: Severity | None = None  #: None unless found
    measured: Quantity | None = None
    limit: Quantity | None = None  #: what would be in order
    subjects: tuple[str, ...] = ()  #: who or what it is about
    window_s: tuple[float, float] | None = None  #: when, seconds since the recording began
    evidence: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)
    why: str = ""  #: why it matters; or why it was not checked
    action: str = ""  #: what to do about it
    not_meaning: str = ""  #: what must not be concluded from it
    id: str = ""  #: name of the pitfall
    docs: str = field(default="", repr=False)  #: its manual page

    @property
    def actual(self) -> str:
        """What was measured, with its unit; empty when nothing was."""
        return str(self.measured) if self.measured else ""

    @property
    def expected(self) -> str:
        """What would be in order, with its unit."""
        return f"at most {self.limit}" if self.limit else ""


@dataclass(frozen=True)
class Pitfall:
    """One pitfall: what it is about, what it needs, and the function that looks for it."""

    title: str
    needs: tuple[str, ...]  #: tables without which it cannot be checked
    check: Callable[..., Finding]

    @property
    def id(self) -> str:
        """Its name, which is that of its file."""
        return str(self.check.__name__)

    @property
    def docs(self) -> str:
        """Its manual page."""
        return inspect.getdoc(self.check) or ""

    @property
    def thresholds(self) -> dict[str, Any]:
        """Its thresholds and their defaults."""
        parameters = inspect.signature(self.check).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def run(self, tables: Tables, **thresholds: Any) -> Finding:
        """Look for it in the selected part of a session; raises UsageError for a threshold that it does not have."""
        if unknown := thresholds.keys() - self.thresholds.keys():
            raise UsageError(
                f"{self.id} has no threshold {min(unknown)}; it has {', '.join(self.thresholds)}"
            )
        try:
            for table in self.needs:
                if not tables.has(table):
                    raise MissingTable(table, tables.store.how_to_record(table))
            finding = self.check(tables, **thresholds)
        except MissingTable as missing:
            finding = not_checked(str(missing), action=missing.how_to_record)
        return replace(finding, id=self.id, docs=self.docs, title=finding.title or self.title)


def pitfall(title: str, *, needs: Sequence[str]) -> Callable[[Callable[..., Finding]], Pitfall]:
    """Declare a function as a pitfall; `needs` names the tables without which it cannot be checked."""
    for table in needs:
        if table not in TABLES:
            raise ValueError(f"there is no table {table!r}")
    return lambda check: Pitfall(title, tuple(needs), check)


def not_checked(why: str, action: str = "") -> Finding:
    """That a pitfall could not be looked for, and what would make it possible."""
    return Finding("not checked", why=why, action=action)


@functools.cache
def all_pitfalls() -> dict[str, Pitfall]:
    """Every pitfall by name, found by its file being there."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        pit = getattr(importlib.import_module(f"{__name__}.{module.name}"), module.name)
        found[module.name] = pit
    return found


def diagnose(tables: Tables, **thresholds: dict[str, Any]) -> list[Finding]:
    """What all pitfalls came to, worst first; thresholds by name of the pitfall.

        diagnose(tables, dominant_event={"share": 0.3})

    Raises UsageError for a pitfall or a threshold that there is not.
    """
    if unknown := thresholds.keys() - all_pitfalls().keys():
        raise UsageError(f"there is no pitfall {min(unknown)!r}; there are {', '.join(all_pitfalls())}")
    found = [pit.run(tables, **thresholds.get(name, {})) for name, pit in all_pitfalls().items()]
    return sorted(found, key=_rank)


def _rank(finding: Finding) -> tuple[int, str]:
    if finding.severity is not None:
        return _RANK[finding.severity], finding.id
    return (3 if finding.outcome == "not checked" else 4), finding.id
