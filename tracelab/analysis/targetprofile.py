"""A target's flame graph: what its processes do on the CPUs, and beside it what its eBPF programs do in the kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis.cost import programs
from tracelab.analysis.members import Members, members
from tracelab.analysis.profiles import profile
from tracelab.profile import Frame, Profile
from tracelab.query import kernels
from tracelab.query.selection import Selection
from tracelab.query.tables import Tables

BRANCH = Frame("eBPF programs in the kernel", domain="process")
BPF = "[bpf]"
UNSEEN_TYPES = ("kprobe", "tracepoint")  #: that exclude those of perf events on their CPU while they run
Parts = list[tuple[tuple[Frame, ...], float]]


def target_profile(tables: Tables, asked: str) -> Profile:
    """On-CPU time of a target's processes, and beside it the net run time of its eBPF programs; ns, in the window.

    Every process stands on a frame of its own. Next to them, on the frame BRANCH, stands a frame for each program,
    as heavy as its run time less the floor of the measurement, counted over part of the time and scaled to all of it.
    Where samples caught a program at work, in whatever process that was, its time is shared out among them: below
    the program are the processes it ran in, and there its own frame with the functions that it called. Samples of the
    target's own processes in its own programs are in that branch only.

    While a program of a kprobe or tracepoint runs, the kernel lets no program of a perf event run on that CPU
    (bpf_prog_active, kernel/trace/bpf_trace.c and kernel/events/core.c). Probe oncpu samples them in another way, but
    where timers have no tracepoints, and of cycles, their time is missing from the stacks of the processes that they
    ran in. Their run time is measured all the same.

    `notes` tell what the two parts are and how many samples shaped the second. Raises MissingTable when no stacks
    were sampled, and UsageError for a target that there is not.
    """
    who = members(tables, asked)
    everything = tables.of_all_processes()
    own = profile(tables.narrowed(Selection(pids=who.pids)), by="process")
    described = _described(everything, who)
    own = _kept(own, _first_frame(own, _frame_numbers(own, described)) < 0)
    sampled = profile(everything, by="process")
    branch, seen, unseen = _branch(sampled, described)
    joined = _joined(own, branch)
    share = sum(weight for _, weight in branch)
    return joined.renamed(
        f"on-CPU time of {who.asked} and its eBPF programs",
        *_notes(tables, who, len(described), share, seen, unseen),
    )


def _described(tables: Tables, who: Members) -> pd.DataFrame:
    """The programs: prog_id, label, tag, type and net_ns, of those that are still described."""
    names = ["prog_id", "label", "tag", "type", "net_ns"]
    if not who.prog_ids or not tables.has("bpf_prog_stats") or not tables.has("bpf_progs"):
        return pd.DataFrame(columns=names)
    cost = programs(tables).set_index("prog_id")
    rows = kernels.to_pandas(tables.collect(tables.whole("bpf_progs"))).drop_duplicates(
        "prog_id", keep="last"
    )
    rows = rows[rows["prog_id"].isin(who.prog_ids)].set_index("prog_id")
    first, last = tables.window_ns
    table = pd.DataFrame(index=rows.index)
    table["label"] = [_label(name, kind, at, tag) for name, kind, at, tag in _texts(rows)]
    table["tag"], table["type"] = rows["tag"].fillna(""), rows["type"].fillna("")
    table["net_ns"] = cost["cpu_share"].reindex(rows.index).fillna(0.0) * (last - first)
    return table.reset_index()[names]


def _texts(rows: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    columns = [rows[c].fillna("").astype(str) for c in ("name", "type", "attach", "tag")]
    return list(zip(*columns, strict=True))


def _label(name: str, kind: str, attach: str, tag: str) -> str:
    return f"{name or tag} ({attach or kind})"


def _branch(sampled: Profile, described: pd.DataFrame) -> tuple[Parts, int, set[str]]:
    """Stacks of the branch with their weights, how many sampled stacks shaped it, and types that none was seen of."""
    parts: Parts = []
    seen, unseen = 0, set[str]()
    for _, alike in described.groupby("tag"):
        at = _first_frame(sampled, _frame_numbers(sampled, alike))
        stacks = np.flatnonzero((at >= 0) & (sampled.weights > 0))
        whole = float(sampled.weights[stacks].sum())
        seen += len(stacks)
        unseen |= set() if len(stacks) else set(alike["type"])
        for label, net in zip(alike["label"], alike["net_ns"], strict=True):
            root = (BRANCH, Frame(str(label), BPF, "bpf"))
            if not len(stacks) and net > 0:
                parts.append((root, float(net)))
            for i in stacks if net > 0 else ():
                stack = sampled.stack(int(i))
                inner = stack[int(at[i]) :]
                parts.append(((*root, _in(stack[0]), *inner), float(net) * sampled.weights[i] / whole))
    return parts, seen, unseen


def _in(process: Frame) -> Frame:
    """The process in which a program ran, without its pid: there may be very many of a name."""
    return Frame(f"in {process.symbol.rpartition(' (')[0] or process.symbol}", domain="process")


def _frame_numbers(profile: Profile, described: pd.DataFrame) -> list[int]:
    """The frames that are one of the programs; the kernel calls them bpf_prog_TAG_NAME, by a name of its own."""
    tags = set(described["tag"]) - {""}
    return [
        i
        for i, f in enumerate(profile.frames)
        if f.domain == "bpf" and f.symbol.removeprefix("bpf_prog_").partition("_")[0] in tags
    ]


def _first_frame(profile: Profile, numbers: list[int]) -> npt.NDArray[np.int64]:
    """Position in each stack of the first frame that is one of these; -1 where there is none."""
    found = np.full(len(profile), -1, np.int64)
    cells = np.flatnonzero(np.isin(profile.stack_frames, numbers))[::-1]
    stack = np.searchsorted(profile.offsets, cells, "right") - 1
    found[stack] = cells - profile.offsets[stack]  # from behind, so that the first one stays
    return found


def _kept(profile: Profile, keep: npt.NDArray[np.bool_]) -> Profile:
    """The profile without the stacks that are not kept."""
    if keep.all():
        return profile
    lengths = np.diff(profile.offsets)
    return replace(
        profile,
        offsets=np.concatenate([[0], np.cumsum(lengths[keep])]).astype(np.int64),
        stack_frames=profile.stack_frames[np.repeat(keep, lengths)],
        weights=profile.weights[keep],
        complete=None if profile.complete is None else profile.complete[keep],
    )


def _joined(own: Profile, branch: Parts) -> Profile:
    """One profile of both; the branch is measured, not unwound, and so complete."""
    more = Profile.from_stacks(branch, unit=own.unit)
    complete = np.ones(len(own), bool) if own.complete is None else own.complete
    return replace(
        own,
        frames=(*own.frames, *more.frames),
        offsets=np.concatenate([own.offsets, own.offsets[-1] + more.offsets[1:]]),
        stack_frames=np.concatenate([own.stack_frames, more.stack_frames + np.int32(len(own.frames))]),
        weights=np.concatenate([own.weights, more.weights]),
        complete=np.concatenate([complete, np.ones(len(more), bool)]),
    )


def _notes(
    tables: Tables, who: Members, described: int, share: float, seen: int, unseen: set[str]
) -> list[str]:
    if not tables.has("bpf_prog_stats"):
        return ["not recorded: the run time of its eBPF programs; record as root on Linux 5.8 or later"]
    if not who.prog_ids:
        return ["none of its processes held an eBPF program"]
    caught = f"{seen} sampled stacks tell what they did" if seen else "no sample caught one at work"
    notes = [f"{share / 1e6:,.1f} ms in {described} eBPF programs, measured beside the samples; {caught}"]
    if hidden := sorted(unseen & set(UNSEEN_TYPES)):
        notes.append(
            f"no sample caught programs of type {' and '.join(hidden)}: where timers have no tracepoints, none can"
        )
    return notes
