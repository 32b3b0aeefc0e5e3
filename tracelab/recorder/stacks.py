"""From raw samples to stacks with names: rows of tables stacks and frames, each written once.

User frames come first, then those of the kernel that the sample was taken in; root first, all of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tracelab.profile import Frame
from tracelab.recorder import eventstacks
from tracelab.recorder.images import Image
from tracelab.recorder.maps import U64, AddressSpaces, Ints
from tracelab.recorder.sideband import Mapped
from tracelab.recorder.stacknumbers import StackNumbers
from tracelab.recorder.symbols import KernelSymbols
from tracelab.recorder.unwind import COMPLETE, NO_MAPS, UNMAPPED, Unwinder, Unwound
from tracelab.recorder.usersymbols import Frames, UserSymbols, unsymbolised
from tracelab.schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

CUT_KERNEL = "kernel stack incomplete"
REPLACED = "stack was overwritten before the event ended"
MAX_STACKS = 1 << 18  #: that are recognised when they come again; beyond, one may get a second number
MAX_NODES = 1 << 19  #: addresses whose frames are remembered
HURRY_S = 0.7  #: for small files, once there is no time left
_ESTALE = -116  #: what probes put in place of a kernel stack whose slot another thread took meanwhile
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


@dataclass(frozen=True)
class Traces:
    """Samples whose user stacks have been unwound, and nothing named; the copies of their stacks are not in here."""

    records: npt.NDArray[np.void]  #: the samples without their arrays
    unwound: Unwound
    kernel: U64  #: shape (samples, deepest): addresses of the kernel stacks, leaf first
    images: tuple[Image, ...]  #: those in which there are frames


class StackResolver:
    """Unwinds and names samples, batch after batch; numbers of stacks and frames count from 1.

    Unwinding takes little time, and then the samples' large copies of stacks can go. Naming may have to read symbols
    of many files first: who must not wait so long calls `prepare` in between, as often as there is time.
    """

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
        self._kind_of_node: list[int] = []  #: as eventstacks has them
        self._numbering = StackNumbers(MAX_STACKS)
        self._kernel_generation = 0
        self._last_frame = 0
        self._new_frames: list[tuple[int, Frame]] = []
        self._new_stacks: list[tuple[int, list[int]]] = []

    @property
    def deep_pids(self) -> set[int]:
        """Processes that run, whose stacks are longer than their copies are."""
        return self.spaces.deep_pids

    def hold(self, mapped: Mapped) -> None:
        """Open a file that a process has just mapped, before it can be gone; may be called by any thread."""
        end = mapped.start + mapped.size
        self.spaces.images.hold(mapped.pid, mapped.start, end, mapped.path, mapped.build_id)

    def hurry(self) -> None:
        """From now on do without large files that have not been read yet, and from HURRY_S on without all of them.

        Their stacks are cut short, or lack names or lines.
        """
        until = time.monotonic() + HURRY_S
        self._unwinder.tables.hurry(until)
        self._symbols.hurry(until)

    @property
    def skipped(self) -> list[str]:
        """Files that were not read because there was no time."""
        return sorted(self._unwinder.tables.skipped | self._symbols.skipped)

    @property
    def child_cpu_s(self) -> float:
        """CPU time of processes that have read symbols."""
        return self._symbols.child_cpu_s

    def resolve(self, records: npt.NDArray[np.void], *, at_events: bool = False) -> Resolved:
        """The stacks of samples, laid out as struct head in bpf/stack.h with a copy of the stack of any length.

        Nothing is raised for whatever the samples hold. No samples give no rows.
        """
        return self.name(self.unwind(records), at_events=at_events)

    def unwind(self, records: npt.NDArray[np.void]) -> Traces:
        """Samples as for `resolve`, unwound."""
        unwound = self._unwinder.unwind(records)
        for pid in np.unique(records["pid"][(unwound.status == UNMAPPED) | (unwound.status == NO_MAPS)]):
            self.spaces.refresh(int(pid))
        mappings = unwound.view.mappings
        used = np.unique(unwound.mapping[unwound.mapping >= 0]).tolist()
        images = tuple(dict.fromkeys(mappings[m].image for m in used))
        kernel = records["kernel"][:, : int(records["kernel_bytes"].max(initial=0)) // 8].astype(np.uint64)
        return Traces(_without_arrays(records), unwound, kernel, images)

    def prepare(self, traces: Traces) -> bool:
        """Read the symbols of one file that `name` will need; False when it needs no more, and will take no time."""
        image = next((i for i in traces.images if not self._symbols.was_read(i)), None)
        if image is not None:
            self._symbols.read(image)
        return image is not None

    def name(self, traces: Traces, *, at_events: bool = False) -> Resolved:
        """The stacks of unwound samples. Batches may be named in any order.

        Of samples that were taken `at_events`, rather than by a clock, only what belongs to the event; see eventstacks.
        """
        unwound, records = traces.unwound, traces.records
        user = self._user_nodes(unwound)
        kernel, kernel_count = self._kernel_nodes(records, traces.kernel)
        status = unwound.status
        status[self._kernel_cut(records, traces.kernel, kernel_count) & (status == COMPLETE)] = CUT_KERNEL
        if at_events:
            found = eventstacks.of_event(kernel, kernel_count, self._kind_of_node)
            kernel, kernel_count, in_interrupt = found
            unwound.count[in_interrupt] = 0
            status[in_interrupt] = COMPLETE
        elif (late := records["in_interrupt"] != 0).any():
            rest = eventstacks.interrupted(kernel[late], kernel_count[late], self._kind_of_node)
            kernel[late], kernel_count[late] = rest
            status[late & (kernel_count == 0) & (status == COMPLETE)] = CUT_KERNEL
        stack_id, new = self._numbering.of(user, unwound.count, kernel, kernel_count)
        for i in new.tolist():
            of_user, of_kernel = user[i, : unwound.count[i]], kernel[i, : kernel_count[i]]
            nodes = np.concatenate([of_user[::-1], of_kernel[::-1]]).tolist()
            self._new_stacks.append((int(stack_id[i]), [f for n in nodes for f in self._frames_of_node[n]]))
        status[(records["kernel_bytes"] == _ESTALE) & (records["user_ok"] == 0)] = REPLACED
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

    def _kernel_nodes(self, records: npt.NDArray[np.void], kernel: U64) -> tuple[Ints, Ints]:
        """Numbers of the nodes of kernel stacks, leaf first as they come, and how many there are."""
        address, depth = kernel.copy(), kernel.shape[1]
        count = np.clip(records["kernel_bytes"], 0, depth * 8).astype(np.int64) // 8
        valid = (np.arange(depth) < count[:, None]) & (address != 0)
        count = valid.cumprod(axis=1).sum(axis=1)
        valid = np.arange(depth) < count[:, None]
        address[:, 1:] -= np.uint64(1)  # return addresses, whose call ends one byte before
        nodes = np.zeros((len(records), max(depth, 1)), np.int64)
        distinct, inverse = np.unique(address[valid], return_inverse=True)
        if self._kernel_generation != self.kernel.generation:
            self._kernel_generation = self.kernel.generation
            self._nodes = {key: node for key, node in self._nodes.items() if key[0] != _KERNEL}
        steady = np.array([self.kernel.steady(a) for a in distinct.tolist()], np.bool_)
        of_distinct = np.zeros(len(distinct), np.int64)
        of_distinct[steady] = [self._steady_node(a) for a in distinct[steady].tolist()]
        of_cell = of_distinct[inverse]
        times = np.broadcast_to(records["time_ns"][:, None], address.shape)[valid]
        for cell in np.flatnonzero(~steady[inverse]):
            frame = self.kernel.frame(int(times[cell]), int(distinct[inverse[cell]]))
            of_cell[cell] = self._node((frame,))
        nodes[:, :depth][valid] = of_cell
        nothing = (count == 0) & (records["user_ok"] == 0)
        if nothing.any():
            nodes[nothing, 0] = self._node((Frame("[unknown]+0x0", "", "kernel"),))
        return nodes, count + nothing

    def _kernel_cut(self, records: npt.NDArray[np.void], kernel: U64, count: Ints) -> npt.NDArray[np.bool_]:
        """Whether the kernel could not unwind its own stack: not at all, or not from where it was interrupted.

        In the first and last instructions of a BPF program, which has no unwind information but frame pointers,
        only the innermost frame comes out; a stack of one frame is whole if that is where the kernel is entered.
        """
        cut: npt.NDArray[np.bool_] = records["kernel_bytes"] < 0
        if self.kernel.entry and kernel.shape[1]:
            leaf = kernel[:, 0]
            entered = (leaf >= self.kernel.entry.start) & (leaf < self.kernel.entry.stop)
            cut = cut | ((records["kernel_bytes"] > 0) & (count == 1) & ~entered)
        return cut

    def _steady_node(self, address: int) -> int:
        found = self._nodes.get((_KERNEL, address))
        if found is None:
            found = self._nodes[_KERNEL, address] = self._node((self.kernel.frame(0, address),))
        return found

    def _node(self, frames: Frames) -> int:
        ids = tuple(self._frame_id(f) for f in frames)
        known = self._node_of_frames.setdefault(ids, len(self._frames_of_node))
        if known == len(self._frames_of_node):
            self._frames_of_node.append(ids)
            self._kind_of_node.append(eventstacks.kind_of(frames))
        return known

    def _frame_id(self, frame: Frame) -> int:
        known = self._frame_ids.get(frame)
        if known is None:
            self._last_frame += 1
            known = self._frame_ids[frame] = self._last_frame
            self._new_frames.append((known, frame))
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
        if len(self._frames_of_node) > MAX_NODES:
            self._numbering.forget()
            self._nodes.clear()
            self._node_of_frames.clear()
            self._frames_of_node.clear()
            self._kind_of_node.clear()
            self._frame_ids.clear()


def _without_arrays(records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    fields: Mapping[str, Any] = records.dtype.fields or {}
    kept = [(name, field[0]) for name, field in fields.items() if field[0].shape == ()]
    found = np.zeros(len(records), kept)
    for name, _ in kept:
        found[name] = records[name]
    return found


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
