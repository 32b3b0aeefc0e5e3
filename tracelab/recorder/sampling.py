"""Keep one of N events, and say so in their weight; limit the rate of each key; keep the recorder in a budget.

The kernel side is in bpf/tracelab.h. Every row has the weight that holds when it was taken, so that sums over weights
estimate what happened without bias, whatever N was and however often it changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tracelab.errors import UsageError

WINDOW_NS = 1 << 27  #: over which the rate of a key is limited
MAX_N = 1 << 20
BUDGET_SLACK = 0.5  #: below this share of the budget, N comes down again,
CALM_READINGS = 5  #: when it was there for so many readings
SAVED_NOTHING = 0.9  #: the cost under a larger N, as a share of that before
PATIENCE = 10  #: readings until that is tried again


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the events of a probe are sampled; the default keeps all."""

    n: int = 1  #: one of n
    by_chance: bool = False  #: each with the chance 1/n, rather than one of every n in a row
    limit: int = 0  #: of each key on each CPU, events per second; 0: no limit
    adaptive: bool = False  #: n follows the budget
    seed: int = 1

    def macros(self) -> dict[str, object]:
        """Macros of bpf/tracelab.h; none when all is kept, which costs nothing."""
        found: dict[str, object] = {}
        if self.n > 1 or self.adaptive:
            found["SAMPLED"] = 2 if self.by_chance else 1
        if self.limit:
            found["RATE_LIMIT"] = max(1, round(self.limit * WINDOW_NS / 1e9))
        if found:
            found["SEED"] = self.seed
        return found


def parse_sample(text: str) -> tuple[str | None, int, bool]:
    """What `--sample [PROBE=]N|P%` asks for: probe or None for all, N, and whether by chance.

    >>> parse_sample("100"), parse_sample("syscalls=1%")
    ((None, 100, False), ('syscalls', 100, True))

    Raises UsageError.
    """
    found = re.fullmatch(r"(?:(\w+)=)?(?:(\d+)|(\d+(?:\.\d+)?)%)", text.strip())
    if found:
        n = int(found[2]) if found[2] else round(100 / float(found[3])) if float(found[3]) else 0
        if 1 <= n <= MAX_N:
            return found[1], n, found[3] is not None
    raise UsageError(f"--sample {text}: say N to keep one of N, or P% for a chance, from 1 to {MAX_N:,}")


def parse_budget(text: str) -> float:
    """Share of one CPU that `--budget 2%` allows; raises UsageError.

    >>> parse_budget("2%")
    0.02
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%?", text.strip())
    share = float(found[1]) / 100 if found else 0.0
    if not 0 < share <= 1:
        raise UsageError(f"--budget {text}: say how much of one CPU the recorder may take, such as 2%")
    return share


@dataclass(slots=True)
class Budget:
    """Follows what the recorder costs, and chooses N: it doubles while over the budget, and halves while far below.

    Events that are left out cost something, too. Where a larger N saved next to nothing, it is taken back, and tried
    again after a while: then the budget cannot be kept, and `exhausted` is true.

    Pure: it is told the cost since the last call, and answers with N.
    """

    share: float  #: of one CPU
    n: int = 1
    exhausted: bool = False
    _calm: int = 0  #: readings in a row that were far below
    _wait: int = 0  #: readings until a larger N is tried again
    _raised: tuple[float, int] | None = None  #: cost and N before this one, where that was smaller

    def next_n(self, cost: float) -> int:
        """N from now on, after a reading in which the recorder took that share of one CPU."""
        raised, self._raised = self._raised, None
        self._calm = self._calm + 1 if cost < BUDGET_SLACK * self.share else 0
        if cost <= self.share:
            self.exhausted, self._wait = False, 0
            if self._calm >= CALM_READINGS and self.n > 1:
                self.n //= 2
                self._calm = 0
        elif raised is not None and cost > SAVED_NOTHING * raised[0]:
            self.exhausted, self._wait = True, PATIENCE
            self.n = raised[1]
        elif self._wait:
            self._wait -= 1
        else:
            self._raised = (cost, self.n)
            self.n = min(MAX_N, self.n * (2 if cost < 4 * self.share else 4))
        return self.n
