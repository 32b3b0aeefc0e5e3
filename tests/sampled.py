"""What became of the samples of one workload: where their stacks begin, and what was said about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from recordings import rows
from tracelab.recorder.recording import Recording

#: where a thread of a C library, and a program itself, begin; a child of vfork or posix_spawn begins at its clone
C_ROOTS = {"_start", "__libc_start_main", "clone3", "__clone3", "clone", "__clone", "thread_start"}


@dataclass(frozen=True)
class Sampled:
    """One sample."""

    outcome: str  #: column unwound
    symbols: list[str]  #: of all its frames, root first
    domains: list[str]

    @property
    def user(self) -> list[str]:
        """Symbols outside the kernel."""
        return [s for s, d in zip(self.symbols, self.domains, strict=True) if d not in ("kernel", "bpf")]


def samples_of(recording: Recording, *, comm: str = "", pid: int | None = None) -> list[Sampled]:
    """The samples of threads whose name begins with `comm`, or of one process."""
    names = {t["tid"]: str(t["comm"]) for t in rows(recording, "tasks") if t["comm"]}
    frames = {f["frame_id"]: f for f in rows(recording, "frames")}
    stacks = {s["stack_id"]: s["frames"] for s in rows(recording, "stacks")}
    found = []
    for sample in rows(recording, "samples", pid=pid):
        if not names.get(sample["tid"], "").startswith(comm):
            continue
        of = [frames[f] for f in stacks[sample["stack_id"]]]  # type: ignore[attr-defined]
        found.append(
            Sampled(str(sample["unwound"]), [str(f["symbol"]) for f in of], [str(f["domain"]) for f in of])
        )
    return found


def check_roots(samples: list[Sampled], roots: Collection[str], *, at_least: int = 60) -> float:
    """Share of the samples with a user stack that reach one of `roots`; fails for a break that is not marked as one.

    What is about to end, or to run another program, has no user stack any more.
    """
    assert len(samples) >= at_least, f"only {len(samples)} samples"
    whole = [s for s in samples if s.outcome == "complete" and s.user]
    unmarked = Counter(s.user[0] for s in whole if s.user[0] not in roots)
    assert sum(unmarked.values()) <= 0.002 * len(samples), unmarked
    print(len(samples), Counter(s.outcome for s in samples))
    return len(whole) / sum(bool(s.user) and s.outcome != "no user stack" for s in samples)
