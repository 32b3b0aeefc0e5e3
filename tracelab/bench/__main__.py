"""`python -m tracelab.bench [--quick] [--json FILE]`: every tracer in turn on the same workload, and one table."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tracelab.bench import machine, rounds, table
from tracelab.bench.drain import CALLBACKS, Recorder
from tracelab.bench.figures import Results, goals
from tracelab.bench.peers import PEERS
from tracelab.bench.tracer import NotRun, Tracer
from tracelab.bench.trial import QUICK, Plan, run_mixed
from tracelab.bench.workload import Placement, build, in_c
from tracelab.errors import CannotRecord, TracelabError, UsageError

DISK_BYTES = 4 << 30  #: perf writes some 1.2 GB in one trial, all of which is removed again


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and print it; returns the exit code, which is 0 however far the goals were met."""
    parser = argparse.ArgumentParser(prog="python -m tracelab.bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="ours and BCC only, once and briefly: to see that it works"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every trial there too")
    args = parser.parse_args(argv)
    try:
        if sys.platform != "linux":
            raise CannotRecord("this is not Linux, where eBPF is; nothing can be recorded here")
        if not args.quick and shutil.disk_usage(tempfile.gettempdir()).free < DISK_BYTES:
            raise UsageError(f"{tempfile.gettempdir()} has less than {DISK_BYTES >> 30} GiB left; set TMPDIR")
        results = _run(quick=args.quick)
    except TracelabError as error:
        print(f"tracelab.bench: {error}", file=sys.stderr)
        return error.exit_code
    print(table.render(results))
    if args.json:
        text = {**asdict(results), "goals": [asdict(goal) for goal in goals(results)]}
        args.json.write_text(json.dumps(text, indent=1))
    return 0 if Recorder.name in results.saturated else 3


def _run(*, quick: bool) -> Results:
    plan = QUICK if quick else Plan()
    tracers: list[Tracer] = [Recorder(), CALLBACKS[1]] if quick else [Recorder(), *CALLBACKS, *PEERS]
    placement = Placement.here()
    others, begun = machine.Others(), time.monotonic()
    print(machine.describe())
    with tempfile.TemporaryDirectory(prefix="tracelab-bench-") as folder:
        program = build(Path(folder))
        with machine.preferred(placement.reader_cpus):
            results = rounds.run(tracers, program, placement, plan, on_progress=_progress)
    if not plan.brief and Recorder.name in results.saturated:
        _progress("real programs")
        try:
            results.mixed = run_mixed()
        except NotRun as refusal:
            results.refuse(Recorder.name, refusal)
    _progress("")
    language = "in C" if in_c(program) else "in Python, as there is no C compiler,"
    print(
        f"workload {language} on CPU {placement.workload_cpu}, readers on CPU "
        f"{', '.join(map(str, sorted(placement.reader_cpus)))}; medians of {plan.repetitions}, in "
        f"{time.monotonic() - begun:.0f} s, of which others used {others.share():.0%} of the machine\n"
    )
    return results


def _progress(what: str) -> None:
    """On a terminal a line that renews itself."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
