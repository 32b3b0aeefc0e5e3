"""How sure a difference is: blocks of time are drawn again and again, and what that changes is the noise.

Samples of one moment are not independent: all CPUs are sampled at once, and a program that is busy now is busy in the
next millisecond. So blocks of time are drawn, not samples (block bootstrap; Kuensch, "The Jackknife and the Bootstrap
for General Stationary Observations", 1989). A window is cut into at most MOST_BLOCKS blocks of LEAST_BLOCK_NS or more,
which is ten periods of a 99 Hz sampler, and neighbours are merged as long as they are alike (`merges`).

What is drawn again gives a standard error; interval and p-value are Student's with the blocks as observations (Welch,
1947), as the edges of a few hundred drawn values are too coarse to test thousands of functions. Of many functions some
seem to change by chance, so that `discoveries` holds the share of false ones down (Benjamini and Hochberg, 1995).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST_BLOCKS = 64
LEAST_BLOCKS = 8  #: with fewer it is not known how much blocks differ
LEAST_BLOCK_NS = 100_000_000
ALIKE = 0.2  #: correlation of neighbouring blocks from which on they are merged
LEAST_SEEN = 6  #: blocks; what is in five is all on one side by chance once in 16 times, which is more than RATE
DRAWS = 400  #: a standard error of so many is right within 4 %
LEVEL_Z = 1.959964  #: of the normal distribution, for intervals of 95 %
RATE = 0.05  #: of changes called certain, how many may be chance
HOW_SURE = (
    "how sure: 95 % intervals by drawing blocks of {:.3g} s ({} before, {} after) again and again; of the changes "
    "called certain, 5 % may be chance; what is in hardly any block cannot be told"
)
UNKNOWN = "not known how sure the differences are: that takes 0.8 s with times on both sides"
_COLUMNS = 2048  #: rows of a table that are drawn at once, to stay in the cache

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Blocks:
    """What was measured on one side, block by block; a row's value is the sum of its weights over that of `per`."""

    weight: Floats  #: shape (blocks, rows)
    per: Floats  #: shape (blocks,): what is divided by, as seconds, events or the weight of everything

    def __len__(self) -> int:
        return len(self.per)

    @property
    def values(self) -> Floats:
        """Value of each row; 0 where there is nothing to divide by."""
        whole = float(self.per.sum())
        values: Floats = self.weight.sum(axis=0) / whole if whole else np.zeros(self.weight.shape[1])
        return values

    def merged(self, times: int) -> Blocks:
        """The same with 2 to the power of `times` neighbouring blocks as one."""
        size = 1 << times
        shape = len(self) >> times, size
        weight = self.weight.reshape(*shape, self.weight.shape[1]).sum(axis=1)
        return Blocks(weight, self.per.reshape(shape).sum(axis=1))


@dataclass(frozen=True, eq=False)
class Certainty:
    """Of each row how sure its difference is; NaN and False where it is not known."""

    lower: Floats  #: of the interval that holds the difference in 95 % of cases
    upper: Floats
    p: Floats  #: how often chance alone would make a difference as large
    certain: Bools  #: whether it stands the test among all others


def block_count(window_ns: tuple[int, int]) -> int:
    """How many blocks a window is cut into: a power of two, 0 if it is too short to tell anything."""
    most = min(MOST_BLOCKS, (window_ns[1] - window_ns[0]) // LEAST_BLOCK_NS)
    return 1 << (int(most).bit_length() - 1) if most >= LEAST_BLOCKS else 0


def likeness(blocks: Blocks) -> float:
    """How alike neighbouring blocks are: correlation of what rows differ from their value, all rows together."""
    rest = blocks.weight - np.outer(blocks.per, blocks.values)
    whole = float((rest * rest).sum())
    return float((rest[1:] * rest[:-1]).sum()) / whole if whole > 0 else 0.0


def merges(blocks: Blocks) -> int:
    """How often neighbours are to be merged until they are no longer ALIKE, or LEAST_BLOCKS are left."""
    times = 0
    while len(blocks) >= 2 * LEAST_BLOCKS and likeness(blocks) > ALIKE:
        blocks, times = blocks.merged(1), times + 1
    return times


def certainty(before: Blocks, after: Blocks, seed: int = 1) -> Certainty:
    """How sure it is that rows differ between two sides.

    Not known with fewer than LEAST_BLOCKS blocks on a side, nor for a row that is in fewer than LEAST_SEEN blocks.
    Equal rows have p = 1.
    """
    old, new = before.values, after.values
    delta = new - old
    unknown = np.full(len(delta), np.nan)
    if min(len(before), len(after)) < LEAST_BLOCKS:
        return Certainty(unknown, unknown, unknown, np.zeros(len(delta), bool))
    random = np.random.default_rng(seed)
    variances = _standard_errors(before, random) ** 2, _standard_errors(after, random) ** 2
    freedom = _freedom(*variances, len(before), len(after))
    error = np.sqrt(variances[0] + variances[1])
    same = np.abs(delta) <= 1e-12 * (np.abs(old) + np.abs(new))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(same, 1.0, two_sided(delta / error, freedom))
    reach = error * _student(freedom)
    seen = (before.weight != 0).sum(axis=0) + (after.weight != 0).sum(axis=0) >= LEAST_SEEN
    p = np.where(seen, p, np.nan)
    return Certainty(
        lower=np.where(seen, delta - reach, np.nan),
        upper=np.where(seen, delta + reach, np.nan),
        p=p,
        certain=discoveries(p),
    )


def two_sided(t: Floats, freedom: Floats) -> Floats:
    """How often Student's t is as far from 0, or farther.

    By a normal approximation, within 2 % from 7 degrees of freedom on (Wallace, "Bounds on Normal
    Approximations to Student's and the Chi-Square Distributions", 1959).
    """
    t = np.minimum(np.abs(t), 1e150)
    z = (8 * freedom + 1) / (8 * freedom + 3) * np.sqrt(freedom * np.log1p(t * t / freedom))
    return np.array([math.erfc(x / math.sqrt(2)) for x in z.tolist()], np.float64)


def discoveries(p: Floats, rate: float = RATE) -> Bools:
    """Which of many differences are real, if at most `rate` of those named may be chance; NaN is no test."""
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    passed = np.flatnonzero(p[order] <= rate * np.arange(1, len(order) + 1) / max(1, len(order)))
    found = np.zeros(len(p), bool)
    found[order[: passed[-1] + 1] if len(passed) else order[:0]] = True
    return found


def _standard_errors(blocks: Blocks, random: np.random.Generator) -> Floats:
    """Standard deviation of each row's value when as many blocks are drawn with replacement, DRAWS times."""
    n = len(blocks)
    draws = random.multinomial(n, np.full(n, 1 / n), DRAWS).astype(np.float64)
    per = draws @ blocks.per
    draws = draws[per > 0] / per[per > 0, None]
    errors = np.zeros(blocks.weight.shape[1])
    for first in range(0, len(errors), _COLUMNS):
        chunk = slice(first, first + _COLUMNS)
        if len(draws):
            errors[chunk] = (draws @ blocks.weight[:, chunk]).std(axis=0)
    return errors * math.sqrt(n / (n - 1))


def _freedom(before: Floats, after: Floats, blocks_before: int, blocks_after: int) -> Floats:
    """Degrees of freedom of the sum of two variances (Welch); as of both where neither varies."""
    spread = before**2 / (blocks_before - 1) + after**2 / (blocks_after - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (before + after) ** 2 / spread
    return np.where(spread > 0, freedom, blocks_before + blocks_after - 2.0)


def _student(freedom: Floats) -> Floats:
    """How many standard errors an interval reaches: the inverse of `two_sided`."""
    z = LEVEL_Z * (8 * freedom + 3) / (8 * freedom + 1)
    return np.sqrt(freedom * np.expm1(z * z / freedom))
