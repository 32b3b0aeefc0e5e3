"""A session as a grid of moments: columns of seconds, cells down to 20 ms, each with what happened in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracelab.analysis.profiles import QUANTITIES
from tracelab.analysis.samples import SampleIndex, sample_index
from tracelab.analysis.transform import matcher
from tracelab.errors import MissingTable, UsageError
from tracelab.query import kernels
from tracelab.query.selection import Selection
from tracelab.query.tables import Tables

COLUMNS_S = (1.0, 10.0, 60.0, 300.0)  #: lengths of a column to choose from
ROWS = 50  #: cells of a column: 20 ms in one of a second
WIDEST = 240  #: columns; with more, a longer one is taken
OF = ("samples", "events", "latency")

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Moments:
    """What happened in each cell. Cells are in the order of time; a column has `rows` of them, from the bottom up."""

    start_s: float  #: when the first cell begins, seconds since the recording began: a whole column
    cell_s: float
    rows: int
    values: Floats  #: shape (cells,): what is counted, in `unit`
    recorded: Bools  #: shape (cells,): whether any of the cell is in the selected time
    lost: Bools  #: shape (cells,): whether anything was lost in it
    quantity: str
    unit: str

    @property
    def columns(self) -> int:
        """How many columns there are."""
        return len(self.values) // self.rows

    @property
    def column_s(self) -> float:
        """Length of a column, seconds."""
        return self.cell_s * self.rows

    @property
    def end_s(self) -> float:
        """When the last cell ends."""
        return self.start_s + len(self.values) * self.cell_s


def moments(
    tables: Tables,
    of: str = "samples",
    event: str | None = None,
    kind: str = "on-CPU",
    column_s: float | None = None,
) -> Moments:
    """What happened in each moment of the selected time.

    `of` is "samples" (what those of a kind stand for, mostly ns), "events" (how many, of one name if `event` is given),
    or "latency" (what the values of events add up to). Without `column_s`, a column is the shortest of COLUMNS_S of
    which no more than WIDEST are needed. Time of the first column before the selected time, and of the last behind
    it, is not recorded. Raises MissingTable, and UsageError for another `of` or a `column_s` that is no length.
    """
    if of not in OF:
        raise UsageError(f"of={of!r}: a heat map is of {', '.join(OF)}")
    column_ns = _column_ns(tables, column_s)
    cell_ns = column_ns // ROWS
    first, last = tables.window_ns
    begin = (first - tables.start_ns) // column_ns * column_ns + tables.start_ns
    cells = max(1, -(-(last - begin) // column_ns)) * ROWS
    edges = begin + np.arange(cells) * cell_ns
    if of == "samples":
        index = sample_index(tables, kind)
        rows = index.rows(tables.selection)
        values = _added(index.time_ns[rows], index.weight[rows], begin, cell_ns, cells)
        quantity, unit = QUANTITIES.get(kind, kind), (index.units or ("ns",))[0]
    else:
        values, quantity, unit = _of_events(tables, of, event, begin, cell_ns, cells)
    return Moments(
        start_s=(begin - tables.start_ns) / 1e9,
        cell_s=cell_ns / 1e9,
        rows=ROWS,
        values=values,
        recorded=(edges + cell_ns > first) & (edges < max(last, first + 1)),
        lost=_lost(tables, begin, cell_ns, cells),
        quantity=quantity,
        unit=unit,
    )


def matching(tables: Tables, made: Moments, pattern: str, kind: str = "on-CPU") -> Floats:
    """What in each cell the samples stand for whose stack has a frame that matches; shape (cells,), unit of samples.

    A plain text is found anywhere and in any case, /text/ is a regular expression; UsageError if it is none.
    """
    index = sample_index(tables, kind)
    rows = index.rows(tables.selection)
    wanted = _stacks_with(index, pattern)[index.stack[rows]]
    begin, cell_ns = round(made.start_s * 1e9) + tables.start_ns, round(made.cell_s * 1e9)
    return _added(index.time_ns[rows][wanted], index.weight[rows][wanted], begin, cell_ns, len(made.values))


def _stacks_with(index: SampleIndex, pattern: str) -> Bools:
    matches = matcher(pattern)
    frames = np.array([matches(frame.symbol) for frame in index.profile.frames], bool)
    cells = np.concatenate([[0], np.cumsum(frames[index.profile.stack_frames])])
    return np.diff(cells[index.profile.offsets]) > 0


def _added(time_ns: npt.NDArray[np.int64], weight: Floats, begin: int, cell_ns: int, cells: int) -> Floats:
    number = np.minimum((time_ns - begin) // cell_ns, cells - 1)
    return np.bincount(number, weights=weight, minlength=cells).astype(np.float64)


def _column_ns(tables: Tables, column_s: float | None) -> int:
    first, last = tables.window_ns
    if column_s is None:
        column_s = next((c for c in COLUMNS_S if (last - first) / 1e9 <= c * WIDEST), COLUMNS_S[-1])
    if not 0.001 <= column_s <= 1e6:
        raise UsageError(f"column_s={column_s!r}: a column is as long as a number of seconds")
    return max(round(column_s * 1e9 / ROWS), 1) * ROWS


def _of_events(
    tables: Tables, of: str, event: str | None, begin: int, cell_ns: int, cells: int
) -> tuple[Floats, str, str]:
    if not tables.has("events"):
        raise MissingTable("events", tables.store.how_to_record("events"))
    if event is not None:
        tables = tables.narrowed(Selection(events=(event,)))
    found = kernels.value_sums(tables, begin, cell_ns)
    found = found[(found["bin"] >= 0) & (found["bin"] <= cells)]
    number = np.minimum(found["bin"].to_numpy(np.int64), cells - 1)
    column = "count" if of == "events" else "value_sum"
    values = np.bincount(number, weights=found[column].to_numpy(np.float64), minlength=cells).astype(np.float64)
    what = event or "events"
    if of == "events":
        return values, what, "events"
    units = {tables.unit(probe) for probe in tables.probes_of("events")} - {""}
    return values, f"{what}: values added up", units.pop() if len(units) == 1 else "ns"


def _lost(tables: Tables, begin: int, cell_ns: int, cells: int) -> Bools:
    lost = np.zeros(cells, bool)
    if tables.has("losses"):
        times = kernels.loss_times(tables)
        number = (times - begin) // cell_ns
        lost[number[(number >= 0) & (number < cells)]] = True
    return lost
