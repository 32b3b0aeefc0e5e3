"""Weighted stacks with a quantity and a unit: what every flame graph, export and diff is made of.

Stacks are root first everywhere in tracelab; a format whose border is leaf first says so there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

DOMAINS = ("user", "kernel", "bpf", "python", "process")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a stack: a function, or a part of one that was inlined."""

    symbol: str  #: demangled name, or `[module]+0x1234` where no symbol was found
    module: str = ""  #: path of the file, `[kernel]`, `[bpf]`, or empty
    domain: str = "user"  #: one of DOMAINS
    file: str = ""  #: source file, or empty
    line: int = 0  #: source line, 0 when unknown
    inlined: bool = False
    build_id: str = ""  #: hexadecimal, or empty
    offset: int = 0  #: address inside the module's file image, 0 when unknown

    @property
    def symbolised(self) -> bool:
        """Whether a name was found for the frame, rather than an address."""
        return not (self.symbol.startswith("[") and "+0x" in self.symbol)


Stack = tuple[Frame, ...]  #: root first


@dataclass(frozen=True, repr=False)
class Profile:
    """Weighted stacks.

    Stack `i` is `frames[stack_frames[offsets[i]:offsets[i + 1]]]`, root first, and weighs `weights[i]`
    in `unit` of `quantity`. Equal stacks may occur more than once.
    """

    frames: tuple[Frame, ...]
    offsets: npt.NDArray[np.int64]  #: shape (stacks + 1,)
    stack_frames: npt.NDArray[np.int32]  #: shape (offsets[-1],), index into frames
    weights: npt.NDArray[np.float64]  #: shape (stacks,)
    quantity: str = "samples"  #: what is weighed: "on-CPU time", "samples", "bytes allocated"
    unit: str = "samples"  #: "ns", "samples", "bytes", "events"
    name: str = ""
    complete: npt.NDArray[np.bool_] | None = None  #: per stack: did unwinding reach the outermost frame
    notes: tuple[str, ...] = field(default=())  #: what a view must say about the data: losses, truncation

    def __len__(self) -> int:
        return len(self.weights)

    def __repr__(self) -> str:
        return f"<Profile: {self.total:,.0f} {self.unit} of {self.quantity} in {len(self):,} stacks>"

    @property
    def total(self) -> float:
        """Sum of all weights, in `unit`."""
        return float(self.weights.sum())

    @property
    def complete_share(self) -> float | None:
        """Share of the weight whose stack reaches the outermost frame; None when it is not known."""
        if self.complete is None or not self.total:
            return None
        return float(self.weights[self.complete].sum()) / self.total

    def stack(self, index: int) -> Stack:
        """The frames of one stack, root first."""
        span = self.stack_frames[self.offsets[index] : self.offsets[index + 1]]
        return tuple(self.frames[i] for i in span)

    def stacks(self) -> Iterator[tuple[Stack, float]]:
        """Every stack with its weight."""
        for i in range(len(self)):
            yield self.stack(i), float(self.weights[i])

    def collapsed(self) -> dict[str, float]:
        """Weights by `root;...;leaf`, the text that flamegraph.pl reads; equal stacks are added up, those of 0 go."""
        folded: dict[str, float] = {}
        for stack, weight in self.stacks():
            if not weight:
                continue
            key = ";".join(f.symbol.replace(";", ":").replace("\n", " ") for f in stack)
            folded[key] = folded.get(key, 0.0) + weight
        return folded

    def compact(self) -> Profile:
        """The same profile without stacks that weigh nothing and frames that no stack has."""
        keep = self.weights != 0
        lengths = np.diff(self.offsets)
        flat = self.stack_frames[np.repeat(keep, lengths)]
        used, index = np.unique(flat, return_inverse=True)
        return replace(
            self,
            frames=tuple(self.frames[i] for i in used),
            offsets=np.concatenate([[0], np.cumsum(lengths[keep])]).astype(np.int64),
            stack_frames=index.astype(np.int32),
            weights=self.weights[keep],
            complete=None if self.complete is None else self.complete[keep],
        )

    def renamed(self, name: str, *notes: str) -> Profile:
        """The same profile under another name, with `notes` added."""
        return replace(self, name=name, notes=self.notes + notes)

    @classmethod
    def from_stacks(
        cls,
        stacks: Iterable[tuple[Iterable[Frame], float]],
        *,
        quantity: str = "samples",
        unit: str = "samples",
        name: str = "",
    ) -> Profile:
        """A profile from `(frames root first, weight)` pairs.

        >>> p = Profile.from_stacks([([Frame("main"), Frame("work")], 3), ([Frame("main")], 1)])
        >>> p.total, p.collapsed()
        (4.0, {'main;work': 3.0, 'main': 1.0})
        """
        index: dict[Frame, int] = {}
        flat: list[int] = []
        offsets = [0]
        weights: list[float] = []
        for frames, weight in stacks:
            flat.extend(index.setdefault(f, len(index)) for f in frames)
            offsets.append(len(flat))
            weights.append(weight)
        return cls(
            frames=tuple(index),
            offsets=np.array(offsets, np.int64),
            stack_frames=np.array(flat, np.int32),
            weights=np.array(weights, np.float64),
            quantity=quantity,
            unit=unit,
            name=name,
        )

    @classmethod
    def from_collapsed(cls, folded: Mapping[str, float], **about: str) -> Profile:
        """A profile from `{"root;...;leaf": weight}`; every frame is in domain user."""
        pairs = (([Frame(s) for s in key.split(";")], weight) for key, weight in folded.items())
        return cls.from_stacks(pairs, **about)
