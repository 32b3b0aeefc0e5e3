"""The text of a benchmark."""

from __future__ import annotations

from tracelab.bench import table
from tracelab.bench.figures import OURS, Results
from tracelab.bench.peers import Perf
from tracelab.bench.tracer import Cost, Outcome
from tracelab.bench.trial import QUICK, Mixed, Plan, Trial
from tracelab.bench.workload import Phase

OUTCOME = Outcome(900_000, 100_000, 4_500_000, 0, about={"ring_high_water_bytes": 3 << 20})
TRIAL = Trial(
    made=1_000_000,
    alone=[Phase(10, 1000, 900)],
    traced=[Phase(1_000_000, 1_000_000_000, 290_000_000)],
    elapsed_s=0.5,
    outcome=OUTCOME,
    cost=Cost(0.36, 200_000_000),
)
RENDERED = """\
tracer            kept  kept  lost  accounted  reader CPU  reader rate    on disk   added to a call   RSS
                 (M/s)   (%)   (%)        (%)   (s per M)   (M/core-s)  (B/event)       (ns, range)  (MB)
tracelab record   1.80  90.0  10.0     100.00        0.40         2.50        5.0  200 (200 to 200)   200

tracelab record: failed 1 times: did not end
perf record: not run: perf is not installed
without a tracer, a call takes 90 ns of CPU time (90 to 90)
tracelab record: lost 10.0% even of the bursts
tracelab record, paced: 900,000 kept, 100,000 lost, ring held at most 3.0 MiB, reader CPU 0.40 s per M, peak RSS 200 MB
tracelab record, real programs (find, sort, Python) and all else on the machine for 4.0 s: 900,000 kept, \
100,000 lost, 5.0 B/event on disk

FAIL          nothing lost at 1 M calls/s for 10 s, 64 MiB ring                             \
100,000 of 1,000,000 missing, at 1.00 M/s, ring at most 5% full
PASS          at least 2.5 M events per reader core-second, as zstd parquet, at saturation  2.50 M
PASS          at least 2.5 M events per reader core-second, as zstd parquet, paced          2.50 M
not measured  adds to a call at most a third of what perf adds
PASS          at most 12 bytes per event, nothing but getppid                               5.0
PASS          at most 12 bytes per event, real programs                                     5.0
not measured  at least 10 times the throughput of BCC callback, event kept
not measured  at least 10 times the throughput of BCC callback, fields kept
not measured  at least 10 times the throughput of bpftrace"""


def test_a_run_is_a_table_then_remarks_then_the_goals() -> None:
    results = Results(
        Plan(),
        bursts={OURS: [TRIAL]},
        saturated={OURS: [TRIAL]},
        refusals={OURS: ["did not end"], Perf.name: ["it crashed", "perf is not installed"]},
        paced=TRIAL,
        mixed=Mixed(OUTCOME, 4.0),
    )
    explained, rest = table.render(results).split("\n\n", 1)
    assert explained == table.EXPLAINED
    assert rest == RENDERED


def test_a_brief_run_judges_no_goal() -> None:
    text = table.render(Results(QUICK, bursts={OURS: [TRIAL]}, saturated={OURS: [TRIAL]}))
    assert "PASS" not in text and "FAIL" not in text
    assert text.endswith("without --quick.")


def test_what_a_tracer_does_not_tell_and_what_is_not_on_disk_is_said_so() -> None:
    unknown = Trial(
        10, [Phase(10, 1000, 900)], [Phase(10, 1000, 900)], 1.0, Outcome(10, None, None, 0), Cost(0.1, 0)
    )
    row = table.render(Results(QUICK, bursts={"x": [unknown]}, saturated={"x": [unknown]}))
    assert "100.0     ?     100.00" in row and "in memory" in row
