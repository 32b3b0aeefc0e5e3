"""What belongs to an event in the kernel stack that a program took at it.

Not the program itself and what runs it, which are at the leaf; nor, when the event was in an interrupt, whatever that
interrupted, which is at the root: a timer that wakes a thread is not a call of the function that it came upon. Of a
clock's samples it is the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tracelab.profile import Frame

OWN, INTERRUPT = 1, 2  #: kinds of frames; 0 is any other
#: kernel functions between a tracepoint and the program that is attached to it, and the program
OWN_FRAMES = ("bpf_prog_", "bpf_trace_run", "bpf_trampoline_", "__bpf_trace_", "__traceiter_", "perf_trace_")
#: where an interrupt begins, on x86-64 and arm64: arch/x86/include/asm/idtentry.h, arch/arm64/kernel/entry.S
INTERRUPTS = (
    "asm_sysvec_",
    "asm_common_interrupt",
    "asm_spurious_interrupt",
    "el1h_64_irq",
    "el0t_64_irq",
    "el0t_32_irq",
)
Ints = npt.NDArray[np.int64]


def kind_of(frames: Sequence[Frame]) -> int:
    """Kind of the frames of one address in the kernel: OWN, INTERRUPT or 0."""
    if not frames or frames[-1].domain not in ("kernel", "bpf"):
        return 0
    symbol = frames[-1].symbol
    return OWN if symbol.startswith(OWN_FRAMES) else INTERRUPT if symbol.startswith(INTERRUPTS) else 0


def of_event(nodes: Ints, count: Ints, kinds: Sequence[int]) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    """Kernel stacks without what does not belong to the event, and which of them are of interrupts.

    `nodes` are stacks leaf first, shape (samples, deepest), of which `count` are filled, and `kinds` the kind of
    each node. A program can be interrupted by another event: the innermost of both is the event.
    """
    kind = _kinds(nodes, count, kinds)
    own = (kind == OWN).cumprod(axis=1).sum(axis=1)
    entry = kind == INTERRUPT
    in_interrupt: npt.NDArray[np.bool_] = entry.any(axis=1)
    count = np.where(in_interrupt, entry.argmax(axis=1) + 1, count) - own
    return _without_leaves(nodes, own), count, in_interrupt


def interrupted(nodes: Ints, count: Ints, kinds: Sequence[int]) -> tuple[Ints, Ints]:
    """What an interrupt came upon in the kernel, of stacks that begin inside of it; arguments as for of_event.

    Nothing is left of a stack that the kernel did not unwind to the beginning of the interrupt.
    """
    entry = _kinds(nodes, count, kinds) == INTERRUPT
    leaves = np.where(entry.any(axis=1), entry.argmax(axis=1) + 1, count)
    return _without_leaves(nodes, leaves), count - leaves


def _kinds(nodes: Ints, count: Ints, kinds: Sequence[int]) -> Ints:
    inside = np.arange(nodes.shape[1]) < count[:, None]
    return np.where(inside, np.array([*kinds, 0], np.int64)[nodes], 0)


def _without_leaves(nodes: Ints, leaves: Ints) -> Ints:
    places = np.minimum(np.arange(nodes.shape[1]) + leaves[:, None], nodes.shape[1] - 1)
    return np.take_along_axis(nodes, places, axis=1)
