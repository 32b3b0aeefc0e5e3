"""All stack samples of a kind in memory, sorted by time: any window of them is a profile in milliseconds.

What is slow is done once for a session: reading, naming frames, finding distinct stacks, folding them. A window is
then a slice, a process a mask, and the weights of the distinct stacks one bincount.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis import pythonstacks
from tracelab.analysis.documented import labels
from tracelab.analysis.namedstacks import NamedStacks
from tracelab.profile import Frame, Profile
from tracelab.query import kernels, lives
from tracelab.query.selection import Selection
from tracelab.query.tables import Tables

MAX_ROWS = 50_000_000  #: of more samples, only those of the selected time are held; about 40 bytes each
Ints = npt.NDArray[np.int64]
Flat = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SampleIndex:
    """Samples of one kind, row by row, and the distinct stacks that they have.

    Rows are sorted by time. A stack is distinct by its frames, by whether it is complete, and, in an index of groups,
    by its group.
    """

    tables: Tables
    kind: str
    units: tuple[str, ...]  #: units of the weights that occur; they can be added up if there is one
    time_ns: Ints  #: CLOCK_MONOTONIC
    pid: Flat
    tid: Flat
    cpu: Flat
    weight: Floats
    stack: Flat  #: number of the distinct stack
    profile: Profile  #: the distinct stacks, with the weights of all rows
    python_read: Bools | None = None  #: per distinct stack: is it of an interpreter whose Python stacks were read
    python_known: Bools | None = None  #: per distinct stack: are its Python functions known
    _groups: dict[str, SampleIndex] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time_ns)

    def rows(self, selection: Selection) -> slice | Ints:
        """The rows that a selection leaves: a slice if it is of time only, else their numbers."""
        first, last = selection.window_ns or (None, None)
        begin = 0 if first is None else int(np.searchsorted(self.time_ns, first))
        end = len(self) if last is None else int(np.searchsorted(self.time_ns, last))
        window = slice(begin, end)
        masks = [
            np.isin(column[window], list(values))
            for column, values in (
                (self.pid, selection.pids),
                (self.tid, selection.tids),
                (self.cpu, selection.cpus),
            )
            if values is not None
        ]
        if selection.comms is not None:
            named = self._lives.names("comm").isin(selection.comms).to_numpy(bool)
            masks.append(named[self._lives.numbers("comm", "tid")[window]])
        if selection.cgroups is not None:
            names, below = self._lives.names("cgroup"), tuple(g.rstrip("/") + "/" for g in selection.cgroups)
            within = (names.isin(selection.cgroups) | names.str.startswith(below)).to_numpy(bool)
            masks.append(within[self._lives.numbers("cgroup", "tid")[window]])
        if selection.frames is not None:
            masks.append(self._with_frames(selection.frames)[self.stack[window]])
        if not masks:
            return window
        return np.flatnonzero(np.logical_and.reduce(masks)) + begin

    def _with_frames(self, symbols: tuple[str, ...]) -> Bools:
        """Whether each distinct stack has one of these functions."""
        wanted = np.array([frame.symbol in symbols for frame in self.profile.frames], bool)
        cells = np.concatenate([[0], np.cumsum(wanted[self.profile.stack_frames])])
        return np.diff(cells[self.profile.offsets]) > 0

    def weights(self, selection: Selection) -> Floats:
        """Weight of each distinct stack in a selection; shape (stacks,)."""
        rows = self.rows(selection)
        if isinstance(rows, slice) and rows == slice(0, len(self)):
            return self.profile.weights.copy()
        return _added(self.stack[rows], self.weight[rows], len(self.profile))

    def profile_of(self, selection: Selection) -> Profile:
        """The profile of a selection: all distinct stacks, most of which may weigh nothing in a short window."""
        return replace(self.profile, weights=self.weights(selection))

    def by(self, group: str) -> SampleIndex:
        """The same samples, those of each group on a frame of domain process, which is named after the group."""
        if group not in self._groups:
            self._groups[group] = self._by(group)
        return self._groups[group]

    def _by(self, group: str) -> SampleIndex:
        of_row, names = self._group_names(group)
        if not len(names):
            return self
        wide = of_row.astype(np.int64) * len(self.profile) + self.stack
        distinct, stack = np.unique(wide, return_inverse=True)
        root, inner = distinct // len(self.profile), distinct % len(self.profile)
        profile = self.profile
        starts, lengths = profile.offsets[inner], np.diff(profile.offsets)[inner]
        offsets = np.concatenate([[0], np.cumsum(lengths + 1)]).astype(np.int64)
        flat = np.empty(int(offsets[-1]), np.int32)
        flat[offsets[:-1]] = root
        below = np.ones(len(flat), bool)
        below[offsets[:-1]] = False
        before = np.cumsum(lengths) - lengths
        flat[below] = profile.stack_frames[np.repeat(starts - before, lengths) + np.arange(len(flat) - len(root))]
        flat[below] += np.int32(len(names))
        return replace(
            self,
            stack=stack.astype(np.int32),
            profile=replace(
                profile,
                frames=(*(Frame(name, domain="process") for name in names), *profile.frames),
                offsets=offsets,
                stack_frames=flat,
                weights=_added(stack, self.weight, len(distinct)),
                complete=None if profile.complete is None else profile.complete[inner],
            ),
            _groups={},
        )

    def _group_names(self, group: str) -> tuple[Flat, list[str]]:
        """For each row the number of its group, and the names of the groups."""
        keys = kernels.GROUPS[group]
        named = {key: self._lives.names(key).to_numpy(object) for key in keys if key in ("comm", "cgroup")}
        of = "pid" if group == "process" else "tid"
        columns = [self._lives.numbers(key, of) if key in named else getattr(self, key) for key in keys]
        wide = np.zeros(len(self), np.int64)
        for column in columns:
            wide = wide * (int(column.max(initial=0)) + 2) + column + 1
        _, first, number = np.unique(wide, return_index=True, return_inverse=True)
        shown = {k: named[k][c[first]] if k in named else c[first] for k, c in zip(keys, columns, strict=True)}
        texts = labels(pd.DataFrame(shown), keys) if len(first) else pd.Series([], dtype="str")
        code, names = pd.factorize("CPU " + texts if group == "cpu" else texts)
        return code.astype(np.int32)[number], [str(name) for name in names]

    def python_notes(self, selection: Selection) -> tuple[str, ...]:
        """How much of the selected time of Python has Python functions, if not all."""
        if self.python_read is None or self.python_known is None:
            return ()
        weights = self.weights(selection)
        return pythonstacks.note(float(weights[self.python_read].sum()), float(weights[self.python_known].sum()))

    @functools.cached_property
    def _lives(self) -> _Lives:
        return _Lives(self)


class _Lives:
    """What threads were called at the time of their samples; looked up once for all rows."""

    def __init__(self, index: SampleIndex) -> None:
        self.index = index
        self._spans: dict[str, pd.DataFrame] = {}
        self._found: dict[tuple[str, str], Flat] = {}

    def spans(self, about: str) -> pd.DataFrame:
        """Columns tid, from_ns and `about` of table tasks, sorted by tid and time."""
        if about not in self._spans:
            tables = Tables(self.index.tables.store, None, self.index.tables.engine)
            if tables.has("tasks"):
                rows = tables.collect(lives.spans(tables, about)).to_pandas()
            else:
                rows = pd.DataFrame({"tid": [], "from_ns": [], about: []})
            self._spans[about] = rows.sort_values(["tid", "from_ns"], ignore_index=True)
        return self._spans[about]

    def names(self, about: str) -> pd.Series[str]:
        """`about` of every span, and behind them UNKNOWN for threads that have none."""
        names = [name if isinstance(name, str) else lives.UNKNOWN for name in self.spans(about)[about]]
        return pd.Series([*names, lives.UNKNOWN], dtype="str")

    def numbers(self, about: str, of: str) -> Flat:
        """For each row a place in `names`, by its column `of`: tid or pid."""
        if (about, of) not in self._found:
            self._found[about, of] = self._find(about, of)
        return self._found[about, of]

    def _find(self, about: str, of: str) -> Flat:
        spans, index = self.spans(about), self.index
        found = np.full(len(index), len(spans), np.int32)
        if not len(spans) or not len(index):
            return found
        # One number for thread and time: spans of a thread leave no gap, so that the last one begun is the one.
        start, length = int(index.time_ns[0]), int(index.time_ns[-1] - index.time_ns[0]) + 2
        tids, code = np.unique(spans["tid"].to_numpy(np.int64), return_inverse=True)
        since = np.clip(spans["from_ns"].to_numpy(np.int64), start - 1, start + length - 2) - (start - 1)
        wanted = getattr(index, of)
        place = np.minimum(np.searchsorted(tids, wanted), len(tids) - 1)
        at = place * length + (index.time_ns - (start - 1))
        before = np.searchsorted(code * length + since, at, "right") - 1
        return np.where(tids[place] == wanted, before, len(spans)).astype(np.int32)


def sample_index(tables: Tables, kind: str = "on-CPU", *, python: bool = True) -> SampleIndex:
    """The samples of a kind of the whole session, whatever is selected; kept as long as the session's engine.

    Python functions, where they were recorded, stand above the native frames that run them, unless python=False.
    Of a session with more than MAX_ROWS samples, it is those of the selected time. Raises MissingTable without samples.
    """
    whole = Tables(tables.store, None, tables.engine)
    window = None
    if kernels.sample_count(whole) > MAX_ROWS:
        window = tables.selection.window_ns
        whole = Tables(tables.store, Selection(window), tables.engine)
    kept = tables.engine.kept
    key = ("samples", kind, python, window)
    if key not in kept:
        for old in [k for k in kept if k[:3] == key[:3]]:
            del kept[old]
        kept[key] = _read(whole, kind, python)
    found: SampleIndex = kept[key]
    return found


def _read(tables: Tables, kind: str, python: bool) -> SampleIndex:
    rows = kernels.sample_rows(tables, kind)
    stack_id = rows["stack_id"].to_numpy(np.int64)
    complete = rows["complete"].to_numpy(bool)
    python_id = np.full(len(rows), pythonstacks.NOT_READ, np.int64)
    if python and kind != pythonstacks.KIND and pythonstacks.recorded(tables):
        python_id = pythonstacks.python_ids(tables, rows)
    keys = pd.DataFrame({"stack_id": stack_id, "python_id": python_id, "complete": complete})
    number = keys.groupby(["stack_id", "python_id", "complete"], sort=False).ngroup().to_numpy().astype(np.int32)
    distinct = keys.drop_duplicates(ignore_index=True)
    weight = rows["weight"].to_numpy(np.float64)
    weights = _added(number, weight, len(distinct))
    stacks, read, known = NamedStacks.of(tables, distinct["stack_id"].to_numpy()), None, None
    if (python_id != pythonstacks.NOT_READ).any():
        stacks, read, known = _with_python(tables, distinct)
    offsets, flat = stacks.laid_out()
    return SampleIndex(
        tables=tables,
        kind=kind,
        units=tuple(kernels.sample_units(tables, kind)),
        time_ns=rows["time_ns"].to_numpy(np.int64),
        pid=rows["pid"].to_numpy(np.int32),
        tid=rows["tid"].to_numpy(np.int32),
        cpu=rows["cpu"].to_numpy(np.int32),
        weight=weight,
        stack=number,
        profile=Profile(
            frames=stacks.frames,
            offsets=offsets,
            stack_frames=flat,
            weights=weights,
            complete=distinct["complete"].to_numpy(bool),
        ),
        python_read=read,
        python_known=known,
    )


def _with_python(tables: Tables, distinct: pd.DataFrame) -> tuple[NamedStacks, Bools, Bools]:
    native, native_of = np.unique(distinct["stack_id"].to_numpy(np.int64), return_inverse=True)
    python, python_of = np.unique(distinct["python_id"].to_numpy(np.int64), return_inverse=True)
    stacks = NamedStacks.of(tables, native), native_of, NamedStacks.of(tables, python), python_of
    merged = pythonstacks.merge(*stacks, distinct["python_id"].to_numpy(np.int64))
    return NamedStacks(*merged[:4]), merged.read, merged.known


def _added(number: npt.NDArray[np.integer], weight: Floats, count: int) -> Floats:
    """What the weights of each number add up to; no rows give zeros."""
    return np.bincount(number, weights=weight, minlength=count).astype(np.float64)
