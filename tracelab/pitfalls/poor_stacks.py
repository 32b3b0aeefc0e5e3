"""Stacks that end too early, and frames without names."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracelab.analysis.profiles import profile
from tracelab.pitfalls import Finding, Quantity, Severity, not_checked, pitfall
from tracelab.profile import Profile
from tracelab.query import kernels
from tracelab.query.tables import Tables


@pitfall("Stacks are incomplete or without names", needs=("samples", "stacks", "frames", "tasks"))
def poor_stacks(
    tables: Tables,
    *,
    incomplete: float = 0.05,
    unnamed: float = 0.25,
    warn_factor: float = 3.0,
    min_samples: int = 20,
) -> Finding:
    """Stacks end before the outermost frame, or their frames have no names.

    What it does: takes the share of the sampled weight whose stack does not reach its outermost frame, and the share
    of all frames, by weight, that have an address for a name. More than `incomplete` or `unnamed` is found,
    and a warning from `warn_factor` times that on. Fewer than `min_samples` samples tell nothing.

    Why it misleads: a stack that is cut off stands beside its own root in a flame graph, so that the same function
    shows up in several places, each too narrow. Frames without names cannot be merged by function at all.

    What to do: by reason, in the evidence. Install the debug symbols of the modules listed; start JITs with
    frame pointers and a perf map (java -XX:+PreserveFramePointer, node --perf-basic-prof).

    Source: the unwinder's outcome for each sample (column unwound), and the symbols of table frames.
    """
    by_reason = kernels.stack_weights(tables, "on-CPU", "process")
    samples = int(by_reason["samples"].sum())
    if not samples and kernels.sample_count(tables):
        return not_checked("no stacks of kind on-CPU were sampled", "record with --events oncpu")
    if samples < min_samples:
        return not_checked(
            f"only {samples} samples; {min_samples} are needed", "record longer, or with a higher --hz"
        )
    stacks = profile(tables)
    cut, nameless = 1 - (stacks.complete_share or 0.0), _unnamed_share(stacks)
    evidence = pd.concat([_cut(by_reason), _unnamed_modules(stacks)], ignore_index=True)
    excess = max(cut / incomplete, nameless / unnamed)
    about_cut = cut / incomplete >= nameless / unnamed
    measured = (
        Quantity(cut, "of the samples' weight in stacks that are cut off")
        if about_cut
        else Quantity(nameless, "of the frames without a name")
    )
    limit = Quantity(incomplete if about_cut else unnamed, measured.unit)
    if excess <= 1:
        return Finding("clear", measured=measured, limit=limit, evidence=evidence.head(5))
    severity: Severity = "warning" if excess >= warn_factor else "info"
    return Finding(
        "found",
        severity=severity,
        title="Stacks are cut off" if about_cut else "Frames have no names",
        measured=measured,
        limit=limit,
        subjects=tuple(dict.fromkeys(evidence["subject"].head(5))),
        evidence=evidence.head(20),
        why="what is cut off stands beside its own root, and a function shows up in several places, each too narrow",
        action="install debug symbols of the modules listed; give JITs frame pointers and a perf map",
        not_meaning="the time is right all the same: it is where the frames stand that is not",
    )


def _unnamed_share(stacks: Profile) -> float:
    """Share of all frames, each with its stack's weight, that have no name."""
    weight = np.repeat(stacks.weights, np.diff(stacks.offsets))
    nameless = ~np.array([f.symbolised for f in stacks.frames], bool)[stacks.stack_frames]
    return float(weight[nameless].sum() / weight.sum()) if weight.sum() else 0.0


def _cut(by_reason: pd.DataFrame) -> pd.DataFrame:
    """Weight by process and reason of the stacks that are cut off, heaviest first."""
    cut = by_reason[by_reason["unwound"] != "complete"]
    cut = cut.assign(subject=cut["comm"] + " (" + cut["pid"].astype(str) + ")", problem=cut["unwound"])
    return _shares(cut, float(by_reason["weight"].sum()))


def _unnamed_modules(stacks: Profile) -> pd.DataFrame:
    """Weight of the frames without a name by module, heaviest first."""
    weight = np.repeat(stacks.weights, np.diff(stacks.offsets))
    by_frame = np.bincount(stacks.stack_frames, weights=weight, minlength=len(stacks.frames))
    rows = [
        (f.module or f.domain, w) for f, w in zip(stacks.frames, by_frame, strict=True) if not f.symbolised
    ]
    table = pd.DataFrame(rows, columns=["subject", "weight"]).astype({"subject": "str", "weight": float})
    return _shares(table.assign(problem="frames without a name"), float(weight.sum()))


def _shares(rows: pd.DataFrame, whole: float) -> pd.DataFrame:
    table = rows.groupby(["subject", "problem"], as_index=False)[["weight"]].sum()
    table["share"] = table.pop("weight") / (whole or 1.0)
    return table.sort_values(["share", "subject"], ascending=[False, True], ignore_index=True)
