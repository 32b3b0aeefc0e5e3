"""Stacks of a session by their numbers, with the frames that they are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracelab.profile import Frame
from tracelab.query.tables import Tables

NO_STACK = Frame("[no stack]")
NO_FRAME = Frame("[frame not recorded]")
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NamedStacks:
    """The stacks of some samples: frames by number, and a slice of `flat` for each sample."""

    frames: tuple[Frame, ...]
    flat: Ints  #: indexes into frames, stack after stack
    starts: Ints  #: where the stack of each sample begins in flat
    lengths: Ints

    @classmethod
    def of(cls, tables: Tables, stack_ids: Ints) -> NamedStacks:
        """The stacks with these ids; one that is not in table stacks becomes the frame NO_STACK."""
        stored = tables.collect(tables.whole("stacks")).combine_chunks()
        ids, first = np.unique(stored["stack_id"].fill_null(-1).to_numpy(), return_index=True)
        lists = _one_chunk(stored["frames"])
        begin = lists.offsets.to_numpy().astype(np.int64)
        flat_ids = lists.values.fill_null(-1).to_numpy().astype(np.int64)
        place = np.searchsorted(ids, stack_ids)
        place[place == len(ids)] = 0
        known = (ids[place] == stack_ids) & (stack_ids >= 0) if len(ids) else np.zeros(len(stack_ids), bool)
        row = first[place] if len(ids) else np.zeros(len(stack_ids), np.int64)
        known &= (begin[row + 1] > begin[row]) if len(ids) else known
        starts = np.where(known, begin[row] if len(ids) else 0, len(flat_ids))
        lengths = np.where(known, begin[row + 1] - begin[row] if len(ids) else 0, 1)
        used = np.zeros(len(flat_ids) + 1, bool)
        used[_positions(starts, lengths)] = True
        frame_ids = np.unique(flat_ids[used[:-1]])
        flat = np.searchsorted(frame_ids, np.append(flat_ids, -1))
        flat[-1] = len(frame_ids)
        return cls((*_frames(tables, frame_ids), NO_STACK), flat, starts, lengths)

    def laid_out(self) -> tuple[Ints, npt.NDArray[np.int32]]:
        """Offsets and frames of every sample's stack, one after the other."""
        offsets = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        return offsets, self.flat[_positions(self.starts, self.lengths)].astype(np.int32)


def _positions(starts: Ints, lengths: Ints) -> Ints:
    """The numbers starts[i] to starts[i] + lengths[i] - 1, one slice after the other."""
    before = np.cumsum(lengths) - lengths
    positions: Ints = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
    return positions


def _one_chunk(column: pa.ChunkedArray) -> pa.ListArray:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _frames(tables: Tables, frame_ids: Ints) -> list[Frame]:
    """The frames with these ids, which are sorted; NO_FRAME for one that table frames does not have."""
    rows = tables.collect(tables.whole("frames"))
    ids = rows["frame_id"].fill_null(-1).to_numpy()
    wanted = np.isin(ids, frame_ids)
    found = {
        row["frame_id"]: Frame(
            symbol=row["symbol"] or "",
            module=row["module"] or "",
            domain=row["domain"] or "user",
            file=row["file"] or "",
            line=row["line"] or 0,
            inlined=bool(row["inlined"]),
            build_id=row["build_id"] or "",
            offset=row["offset"] or 0,
        )
        for row in rows.filter(pa.array(wanted)).to_pylist()
    }
    return [found.get(int(number), NO_FRAME) for number in frame_ids]
