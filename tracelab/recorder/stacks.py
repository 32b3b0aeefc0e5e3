"""From raw samples to stacks with names: rows of tables stacks and frames, each written once.

User frames come first, then those of the kernel that the sample was taken in; root first, all of them.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tracelab.profile import Frame
from tracelab.recorder.images import Image
from tracelab.recorder.maps import AddressSpaces, Ints
from tracelab.recorder.symbols import KernelSymbols
from tracelab.recorder.unwind import COMPLETE, NO_MAPS, UNMAPPED, Unwinder, Unwound
from tracelab.recorder.usersymbols import Frames, UserSymbols, unsymbolised
from tracelab.schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

CUT_KERNEL = "kernel stack incomplete"
MAX_STACKS = 1 << 18  #: that are recognised when they come again; beyond, one may get a second number
MAX_NODES = 1 << 19  #: addresses whose frames are remembered
_INT64 = 1 << 63
_KERNEL = -1  #: in place of an image's number

Node = tuple[int, ...]  #: frame ids of one address, root first


@dataclass(frozen=True)
class Resolved:
    """What a batch of samples came to."""

    stack_id: Ints  #: shape (samples,)
    unwound: list[str]  #: of each sample: "complete", or the reason why its user stack is not
    stacks: pa.RecordBatch  #: rows of table stacks that were not there before
    frames: pa.RecordBatch  #: rows of table frames that were not there before


class StackResolver:
    """Unwinds and names samples, batch after batch; numbers of stacks and frames count from 1."""

    def __init__(
        self,
        spaces: AddressSpaces,
        kernel: KernelSymbols,
        *,
        unwinder: Unwinder | None = None,
        symbols: UserSymbols | None = None,
    ) -> None:
        self.spaces = spaces
        self.kernel = kernel
        self._unwinder = unwinder or Unwinder(spaces)
        self._symbols = symbols or UserSymbols(spaces.images, self._unwinder.tables.function_start)
        self._frame_ids: dict[Frame, int] = {}
        self._nodes: dict[tuple[int, int], int] = {}  #: by image and address
        self._node_of_frames: dict[Node, int] = {}
        self._frames_of_node: list[Node] = []
        self._stacks: OrderedDict[bytes, int] = OrderedDict()
        self._last_frame = self._last_stack = 0
        self._new_frames: list[tuple[int, Frame]] = []
        self._new_stacks: list[tuple[int, list[int]]] = []

    @property
    def deep_pids(self) -> set[int]:
        """Processes whose stacks are longer than their copies were."""
        return self._unwinder.deep_pids

    def hurry(self) -> None:
        """From now on do without files that have not been read yet: their stacks are cut short, or without names."""
        self._unwinder.tables.skipped = set()
        self._symbols.skipped = set()

    @property
    def skipped(self) -> list[str]:
        """Files that were not read because there was no time."""
        return sorted((self._unwinder.tables.skipped or set()) | (self._symbols.skipped or set()))

    def resolve(self, records: npt.NDArray[np.void]) -> Resolved:
        """The stacks of samples, laid out as in bpf/oncpu.c, of either length of the stack copy.

        Nothing is raised for whatever the samples hold. No samples give no rows.
        """
        unwound = self._unwinder.unwind(records)
        user = self._user_nodes(unwound)
        kernel, kernel_count = self._kernel_nodes(records)
        stack_id = np.zeros(len(records), np.int64)
        for i in range(len(records)):
            nodes = np.concatenate(
                [user[i, : unwound.count[i]][::-1], kernel[i, : kernel_count[i]][::-1]], dtype=np.int64
            )
            stack_id[i] = self._stack(nodes)
        status = unwound.status
        status[self._kernel_cut(records, kernel_count) & (status == COMPLETE)] = CUT_KERNEL
        for pid in np.unique(records["pid"][(status == UNMAPPED) | (status == NO_MAPS)]):
            self.spaces.refresh(int(pid))
        resolved = Resolved(stack_id, status.tolist(), self._stack_rows(), self._frame_rows())
        self._stay_bounded()
        return resolved

    def _user_nodes(self, unwound: Unwound) -> Ints:
        """Numbers of nodes, in the shape of the addresses."""
        nodes = np.zeros(unwound.address.shape, np.int64)
        valid = np.arange(unwound.address.shape[1]) < unwound.count[:, None]
        mapping, address = unwound.mapping[valid].astype(np.int64), unwound.address[valid]
        mappings = unwound.view.mappings
        images = list(dict.fromkeys(m.image for m in mappings))
        index = {image: n for n, image in enumerate(images)}
        image_of = np.array([index[m.image] for m in mappings] + [-1], np.int64)[mapping]  # -1: the last
        address = address - np.append(unwound.view.base, np.uint64(0))[mapping]
        of_cell = np.zeros(len(address), np.int64)
        for n in np.unique(image_of):
            mine = image_of == n
            distinct, inverse = np.unique(address[mine], return_inverse=True)
            found = self._nodes_of(images[n] if n >= 0 else None, distinct.tolist())
            of_cell[mine] = np.array(found, np.int64)[inverse]
        nodes[valid] = of_cell
        return nodes

    def _nodes_of(self, image: Image | None, addresses: list[int]) -> list[int]:
        number = image.number if image else 0
        if image is not None and image.is_jit and self._symbols.learned(image):
            self._nodes = {key: node for key, node in self._nodes.items() if key[0] != number}
        missing = [a for a in addresses if (number, a) not in self._nodes]
        found: list[Frames] = [(unsymbolised(None, a),) for a in missing]
        if image is not None:
            found = self._symbols.frames(image, missing)
        for address, frames in zip(missing, found, strict=True):
            self._nodes[number, address] = self._node(frames)
        return [self._nodes[number, a] for a in addresses]

    def _kernel_nodes(self, records: npt.NDArray[np.void]) -> tuple[Ints, Ints]:
        """Numbers of the nodes of kernel stacks, leaf first as they come, and how many there are."""
        stacks = records["kernel"]
        count = np.clip(records["kernel_bytes"], 0, stacks.shape[1] * 8).astype(np.int64) // 8
        depth = int(count.max(initial=0))
        address = stacks[:, :depth].astype(np.uint64)
        valid = (np.arange(depth) < count[:, None]) & (address != 0)
        count = valid.cumprod(axis=1).sum(axis=1)
        valid = np.arange(depth) < count[:, None]
        address[:, 1:] -= np.uint64(1)  # return addresses, whose call ends one byte before
        nodes = np.zeros((len(records), max(depth, 1)), np.int64)
        distinct, inverse = np.unique(address[valid], return_inverse=True)
        constant = np.array([a in self.kernel.constant for a in distinct.tolist()], np.bool_)
        of_distinct = np.zeros(len(distinct), np.int64)
        of_distinct[constant] = [self._constant_node(a) for a in distinct[constant].tolist()]
        of_cell = of_distinct[inverse]
        times = np.broadcast_to(records["time_ns"][:, None], address.shape)[valid]
        for cell in np.flatnonzero(~constant[inverse]):
            frame = self.kernel.frame(int(times[cell]), int(distinct[inverse[cell]]))
            of_cell[cell] = self._node((frame,))
        nodes[:, :depth][valid] = of_cell
        nothing = (count == 0) & (records["user_ok"] == 0)
        if nothing.any():
            nodes[nothing, 0] = self._node((Frame("[unknown]+0x0", "", "kernel"),))
        return nodes, count + nothing

    def _kernel_cut(self, records: npt.NDArray[np.void], count: Ints) -> npt.NDArray[np.bool_]:
        """Whether the kernel could not unwind its own stack: not at all, or not from where it was interrupted.

        In the first and last instructions of a BPF program, which has no unwind information but frame pointers,
        only the innermost frame comes out; a stack of one frame is whole if that is where the kernel is entered.
        """
        cut: npt.NDArray[np.bool_] = records["kernel_bytes"] < 0
        if self.kernel.entry:
            leaf = records["kernel"][:, 0]
            entered = (leaf >= self.kernel.entry.start) & (leaf < self.kernel.entry.stop)
            cut = cut | ((records["kernel_bytes"] > 0) & (count == 1) & ~entered)
        return cut

    def _constant_node(self, address: int) -> int:
        found = self._nodes.get((_KERNEL, address))
        if found is None:
            found = self._nodes[_KERNEL, address] = self._node((self.kernel.frame(0, address),))
        return found

    def _node(self, frames: Frames) -> int:
        ids = tuple(self._frame_id(f) for f in frames)
        known = self._node_of_frames.setdefault(ids, len(self._frames_of_node))
        if known == len(self._frames_of_node):
            self._frames_of_node.append(ids)
        return known

    def _frame_id(self, frame: Frame) -> int:
        known = self._frame_ids.get(frame)
        if known is None:
            self._last_frame += 1
            known = self._frame_ids[frame] = self._last_frame
            self._new_frames.append((known, frame))
        return known

    def _stack(self, nodes: Ints) -> int:
        frames = [f for n in nodes.tolist() for f in self._frames_of_node[n]]
        key = hashlib.blake2b(np.array(frames, np.int32).tobytes(), digest_size=16).digest()
        known = self._stacks.get(key)
        if known is None:
            self._last_stack += 1
            known = self._stacks[key] = self._last_stack
            self._new_stacks.append((known, frames))
        self._stacks.move_to_end(key)
        return known

    def _stack_rows(self) -> pa.RecordBatch:
        import pyarrow as pa

        new, self._new_stacks = self._new_stacks, []
        columns = [[number for number, _ in new], [frames for _, frames in new]]
        schema = arrow_schema("stacks")
        return pa.RecordBatch.from_arrays(
            [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
        )

    def _frame_rows(self) -> pa.RecordBatch:
        import pyarrow as pa

        new, self._new_frames = self._new_frames, []
        rows = [
            (
                number,
                _text(f.symbol),
                _text(f.module),
                f.build_id or None,
                (f.offset + _INT64) % (2 * _INT64) - _INT64,
                _text(f.file) or None,
                min(f.line, (1 << 31) - 1) or None,
                int(f.inlined),
                f.domain,
            )
            for number, f in new
        ]
        schema = arrow_schema("frames")
        columns = list(zip(*rows, strict=True)) or [()] * len(schema)
        return pa.RecordBatch.from_arrays(
            [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
        )

    def _stay_bounded(self) -> None:
        while len(self._stacks) > MAX_STACKS:
            self._stacks.popitem(last=False)
        if len(self._frames_of_node) > MAX_NODES:
            self._nodes.clear()
            self._node_of_frames.clear()
            self._frames_of_node.clear()
            self._frame_ids.clear()


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
