"""Outcomes of the same tests on several kernels, as one table with the reasons below it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

WORDS = {"passed": "pass", "failed": "FAIL", "skipped": "skip", "died": "DIED", "not run": "----"}
BAD = ("failed", "died", "not run")


@dataclass
class Column:
    """What one kernel had to say.

    `outcomes` and `reasons` are by test; `stopped` is why the run as a whole ended early or never began, None
    when it came to its end.
    """

    stopped: str | None = None
    facts: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    duration_s: dict[str, float] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether the run came to its end, something passed in it, and nothing failed."""
        outcomes = set(self.outcomes.values())
        return self.stopped is None and "passed" in outcomes and not outcomes.intersection(BAD)


def column(lines: Sequence[str], stopped: str | None = None) -> Column:
    """A column from what the outcomes plugin wrote; a test that began and did not end has died.

    A test that passed and then failed in its teardown has failed. A last line that was cut is left out.
    """
    made = Column(stopped)
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        made.facts.update(record.get("facts", {}))
        made.outcomes.update(dict.fromkeys(record.get("collected", ()), "not run"))
        if "began" in record:
            made.outcomes[record["test"]] = "died"
        elif "outcome" in record:
            made.outcomes[record["test"]] = record["outcome"]
            made.reasons[record["test"]] = record["reason"]
            made.duration_s[record["test"]] = record["duration_s"]
    return made


def matrix(columns: Mapping[str, Column]) -> str:
    """The table: a row per fact and per test, a column per kernel, then why each test did not pass.

    Example:
        >>> one = column(['{"test": "a.py::t", "outcome": "passed", "reason": "", "duration_s": 1}'])
        >>> two = column(['{"test": "a.py::t", "outcome": "failed", "reason": "1 != 2", "duration_s": 1}'])
        >>> print(matrix({"6.1": one, "6.12": two}))
                6.1   6.12
        a.py
          t     pass  FAIL
        passed  1     0
        failed  0     1
        <BLANKLINE>
        FAIL on 6.12: a.py::t
          1 != 2
    """
    rows: list[tuple[str, ...]] = [("", *columns)]
    for fact in _in_order(c.facts for c in columns.values()):
        rows.append((fact, *(c.facts.get(fact, "?") for c in columns.values())))
    tests = _in_order(c.outcomes for c in columns.values())
    file_before = None
    for test in sorted(tests, key=lambda test: test.partition("::")[0]):
        file, _, name = test.partition("::")
        if file != file_before:
            rows.append((file, *("" for _ in columns)))
            file_before = file
        rows.append((f"  {name or '(the file itself)'}", *(_cell(c, test) for c in columns.values())))
    for outcome in WORDS:
        counts = [list(c.outcomes.values()).count(outcome) for c in columns.values()]
        if any(counts):
            rows.append((outcome, *map(str, counts)))
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    # A file's name may run over the empty cells beside it.
    widths[0] = max(len(row[0]) for row in rows if row[1:] != ("",) * len(columns))
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join([*("  ".join(cells).rstrip() for cells in padded), *_reasons(columns)])


def _cell(column: Column, test: str) -> str:
    return WORDS.get(column.outcomes.get(test, ""), "")


def _in_order(mappings: Iterable[Mapping[str, str]]) -> list[str]:
    """Keys of all, once each, in the order of their first appearance."""
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def _reasons(columns: Mapping[str, Column]) -> list[str]:
    """Why tests did not pass, the same reason on several kernels once."""
    kernels: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for kernel, c in columns.items():
        for test, outcome in c.outcomes.items():
            if outcome not in ("passed", "not run"):
                why = c.reasons.get(test, "the machine or the run ended in it")
                kernels[outcome, test, why].append(kernel)
    lines = [f"{kernel}: {c.stopped}" for kernel, c in columns.items() if c.stopped]
    for (outcome, test, why), where in sorted(kernels.items()):
        lines += [f"{WORDS[outcome]} on {', '.join(where)}: {test}", f"  {why}"]
    return ["", *lines] if lines else []
