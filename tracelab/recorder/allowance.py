"""A share of a CPU for readings that may be expensive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

SHARE = 0.01  #: of a CPU
BURST_S = 0.05  #: what an allowance saves up at most


class Allowance:
    """CPU time that grows by `share` of the time that passes; spending may overdraw it once."""

    def __init__(
        self,
        share: float = SHARE,
        burst_s: float = BURST_S,
        now: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self._share, self._burst_s, self._now, self._spent = share, burst_s, now, spent
        self._left_s, self._at = burst_s, now()

    def ordered(self, due: Iterable[int], last: dict[int, int]) -> Iterator[int]:
        """As many of these as may be read now, longest unread first; a caller reads each as it comes."""
        at = self._now()
        self._left_s = min(self._burst_s, self._left_s + (at - self._at) * self._share)
        self._at = at
        for number in sorted(due, key=lambda n: (last.get(n, 0), n)):
            if self._left_s <= 0:
                return
            before = self._spent()
            yield number
            self._left_s -= self._spent() - before
