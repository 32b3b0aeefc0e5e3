"""Every tracer in turn, and that as often as planned: interleaved, so that what the machine does meanwhile hits all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracelab.bench.figures import Results
from tracelab.bench.tracer import NotRun, Tracer
from tracelab.bench.trial import Plan, bursts, paced, run_trial, saturation
from tracelab.bench.workload import Placement

PATIENCE = 2  #: times that a tracer may refuse; some crash now and then


def run(
    tracers: Sequence[Tracer],
    program: list[str],
    placement: Placement,
    plan: Plan,
    *,
    on_progress: Callable[[str], None],
) -> Results:
    """Bursts and saturation for each of `tracers`; for the first also the paced run.

    What a tracer says when it refuses is among the results; one that has refused twice is not asked again.
    """
    results = Results(plan)
    for repetition in range(plan.repetitions):
        for tracer in tracers:
            if len(results.refusals.get(tracer.name, ())) == PATIENCE:
                continue
            on_progress(f"{repetition + 1} of {plan.repetitions}: {tracer.name}")
            try:
                if reason := tracer.refusal():
                    raise NotRun(reason)
                slowed = run_trial(tracer, program, placement, plan, bursts)
                saturated = run_trial(tracer, program, placement, plan, saturation)
            except NotRun as refusal:
                results.refuse(tracer.name, refusal)
                continue
            results.bursts.setdefault(tracer.name, []).append(slowed)
            results.saturated.setdefault(tracer.name, []).append(saturated)
    ours = tracers[0]
    if ours.name in results.saturated:
        on_progress(f"{ours.name} at {plan.paced_per_s / 1e6:g} M calls/s")
        try:
            results.paced = run_trial(ours, program, placement, plan, paced)
        except NotRun as refusal:
            results.refuse(ours.name, refusal)
    return results
