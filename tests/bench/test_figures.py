"""From trials to medians, and from medians to the goals."""

from __future__ import annotations

from tracelab.bench import figures
from tracelab.bench.figures import COPYING, DOCUMENTED, OURS, Results, goals, summarise
from tracelab.bench.peers import Perf
from tracelab.bench.tracer import Cost, Outcome
from tracelab.bench.trial import Mixed, Plan, Trial
from tracelab.bench.workload import Phase

MILLION = 1_000_000


def trial(
    *,
    kept: int = MILLION,
    lost: int | None = 0,
    made: int = MILLION,
    elapsed_s: float = 1.0,
    cpu_s: float = 0.25,
    finishing_cpu_s: float = 0.0,
    size_bytes: int | None = 5 * MILLION,
    added_ns: int = 100,
    high_water_bytes: int = 0,
) -> Trial:
    """A trial of calls that take 100 ns alone, and in one disturbed phase of each kind much more."""
    return Trial(
        made=made,
        alone=[Phase(10, 1500, 1000), Phase(10, 9000, 7000)],
        traced=[Phase(10, 9000, 8000), Phase(10, 2500, 1000 + 10 * added_ns)],
        elapsed_s=elapsed_s,
        outcome=Outcome(
            kept, lost, size_bytes, 0, finishing_cpu_s, {"ring_high_water_bytes": high_water_bytes}
        ),
        cost=Cost(cpu_s, 50 * MILLION),
    )


def results(**tracers: Trial) -> Results:
    """One trial for each tracer, which is both its bursts and its saturation."""
    names = {"ours": OURS, "perf": Perf.name, "documented": DOCUMENTED, "copying": COPYING}
    trials = {names[key]: [value] for key, value in tracers.items()}
    return Results(Plan(), bursts=trials, saturated=trials)


def reached(found: Results) -> dict[str, bool | None]:
    return {goal.aim: goal.reached for goal in goals(found)}


def test_what_tracing_adds_is_seen_in_the_least_disturbed_phase_of_either_kind() -> None:
    assert trial(added_ns=130).added_ns == 130


def test_figures_are_medians_and_the_range_of_what_is_added() -> None:
    bursts = [trial(added_ns=added) for added in (120, 400, 110)]
    saturated = [trial(kept=kept, elapsed_s=0.5) for kept in (600_000, 800_000, 200_000)]
    found = summarise(bursts, saturated)
    assert found.kept_per_s == 1_200_000
    assert found.kept_share == 0.6
    assert (found.added_ns, found.added_ns_lowest, found.added_ns_highest) == (120, 110, 400)


def test_kept_and_lost_calls_are_accounted_for() -> None:
    found = trial(kept=700_000, lost=250_000)
    assert (found.kept_share, found.lost_share, found.accounted_share) == (0.7, 0.25, 0.95)


def test_a_tracer_that_does_not_tell_its_losses_accounts_for_what_it_kept() -> None:
    found = summarise([trial()], [trial(kept=700_000, lost=None)])
    assert found.lost_share is None
    assert found.accounted_share == 0.7


def test_parts_that_were_made_parquet_afterwards_count_as_cpu_time_of_the_reader() -> None:
    assert trial(cpu_s=0.25, finishing_cpu_s=0.05).reader_cpu_s_per_million == 0.3


def test_a_tracer_that_stores_nothing_has_no_size() -> None:
    assert summarise([trial()], [trial(size_bytes=None)]).bytes_per_event is None


def test_a_goal_whose_tracers_were_not_run_is_not_measured() -> None:
    assert set(reached(Results(Plan())).values()) == {None}


def test_one_missing_call_fails_the_lossless_goal() -> None:
    found = Results(Plan(), paced=trial(made=MILLION, kept=MILLION, high_water_bytes=8 << 20))
    assert (goals(found)[0].reached, goals(found)[0].figure[:25]) == (True, "0 of 1,000,000 missing, a")
    assert goals(found)[0].figure.endswith("ring at most 12% full")
    assert not goals(Results(Plan(), paced=trial(made=MILLION, kept=MILLION - 1, lost=1)))[0].reached


def test_the_reader_has_to_be_quick_enough_at_saturation_and_paced() -> None:
    found = results(ours=trial(cpu_s=0.41))
    found.paced = trial(cpu_s=0.4)
    aim = "at least 2.5 M events per reader core-second, as zstd parquet, "
    assert reached(found)[f"{aim}at saturation"] is False
    assert reached(found)[f"{aim}paced"] is True


def test_a_third_of_what_perf_adds_is_allowed() -> None:
    aim = "adds to a call at most a third of what perf adds"
    assert reached(results(ours=trial(added_ns=100), perf=trial(added_ns=300)))[aim] is True
    assert reached(results(ours=trial(added_ns=101), perf=trial(added_ns=300)))[aim] is False


def test_bytes_are_judged_for_bare_calls_and_for_real_programs() -> None:
    found = results(ours=trial(size_bytes=2 * MILLION))
    found.mixed = Mixed(Outcome(MILLION, 0, 13 * MILLION, 0), 5.0)
    assert reached(found)["at most 12 bytes per event, nothing but getppid"] is True
    assert reached(found)["at most 12 bytes per event, real programs"] is False


def test_throughput_is_compared_with_both_ways_to_decode_in_a_callback() -> None:
    found = results(ours=trial(kept=3 * MILLION), documented=trial(kept=300_000), copying=trial(kept=400_000))
    aim = "at least 10 times the throughput of "
    assert reached(found)[aim + DOCUMENTED] is True
    assert reached(found)[aim + COPYING] is False
    assert reached(found)[aim + "bpftrace"] is None


def test_the_time_of_a_call_alone_is_given_over_all_trials() -> None:
    assert results(ours=trial(), perf=trial()).alone_ns == (100, 100, 100)


def test_every_tracer_named_in_a_goal_is_one_that_is_run() -> None:
    assert {DOCUMENTED, COPYING} < {callback.name for callback in figures.CALLBACKS}
