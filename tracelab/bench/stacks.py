"""What stacks cost: `python -m tracelab.bench.stacks`.

Two questions, each with a peer in the same run. How soon can code of a very large library be unwound: beside the
`symbolic` package, which reads the same section. How much CPU time does a sample cost from its copied stack to rows
with names: beside `perf script`, on the same workload. Medians of several repetitions, in CPU time, so that what else
the machine does matters little.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tracelab.errors import CannotRecord, TracelabError, UsageError
from tracelab.recorder.diskcache import DiskCache
from tracelab.recorder.images import Images
from tracelab.recorder.loader import LoadedProbe
from tracelab.recorder.maps import AddressSpaces
from tracelab.recorder.probes import all_probes
from tracelab.recorder.stacks import StackResolver
from tracelab.recorder.symbols import KernelSymbols
from tracelab.recorder.unwindtables import UnwindTables

REPETITIONS = 5
HZ = 999
SECONDS = 3.0
PROCESSES = 4
FUNCTIONS = 1000  #: of the library that are looked up: what a long recording of it meets
BATCHES = {"5,000 samples/s": 2500, "100 samples/s": 50}  #: samples in the half second between two batches
GOALS = {"first": 2.0, "again": 0.05, "share": 0.2}
BUSY = """
import hashlib, json, re, time
until = time.monotonic() + {seconds}
while time.monotonic() < until:
    json.loads(json.dumps({{str(i): [i] * 3 for i in range(500)}}))
    re.sub(r"(\\d+)", lambda m: m[1] * 2, "a1b22c333" * 50)
    sorted(hashlib.sha256(str(i).encode()).hexdigest() for i in range(200))
"""


def main() -> int:
    """Print both tables; returns the exit code."""
    try:
        library = largest_library()
        print(f"unwinding in {library.name} of {library.stat().st_size / 1e6:.0f} MB\n")
        print(_tables(library))
        print()
        print(_samples())
    except TracelabError as error:
        print(f"tracelab.bench.stacks: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def largest_library() -> Path:
    """The largest shared library that the dynamic linker knows; raises UsageError where it knows none."""
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout.splitlines()
    found = {Path(line.rpartition(" => ")[2]).resolve() for line in listed if " => " in line}
    sizes = {path: path.stat().st_size for path in found if path.is_file()}
    if not sizes:
        raise UsageError("the dynamic linker lists no libraries; install any, such as BCC with its LLVM")
    return max(sizes, key=lambda path: sizes[path])


def _tables(library: Path) -> str:
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="tracelab-bench-") as folder:
        caches = [DiskCache(Path(folder) / str(n)) for n in range(REPETITIONS)]
        rows["tracelab, first time"] = [_ready_s(library, cache) for cache in caches]
        rows["symbolic, make_cficache"] = [_cpu_s(lambda: _symbolic(library)) for _ in caches]
        rows["tracelab, again"] = [_ready_s(library, cache) for cache in caches]
    ours = statistics.median(rows["tracelab, first time"])
    lines = [f"{'':26}{'CPU s':>9}{'lowest':>9}{'highest':>9}{'ratio':>8}"]
    for name, times in rows.items():
        median = statistics.median(times)
        lines.append(f"{name:26}{median:9.4f}{min(times):9.4f}{max(times):9.4f}{median / ours:8.1f}")
    again = statistics.median(rows["tracelab, again"])
    said = f"goals: ready in {GOALS['first']:g} s, then in {GOALS['again'] * 1000:g} ms: "
    return "\n".join([*lines, said + _reached(ours <= GOALS["first"] and again <= GOALS["again"])])


def _ready_s(library: Path, cache: DiskCache) -> float:
    """CPU time from an unknown file to the rules of FUNCTIONS of its functions."""

    def look_up() -> None:
        images = Images()
        image = images.find(os.getpid(), 0, 1 << 30, str(library))
        if image is None:
            raise UsageError(f"{library} is no library")
        tables = UnwindTables(images, cache)
        slot = tables.slot(image)
        inside = np.random.default_rng(0).integers(0, library.stat().st_size, FUNCTIONS).astype(np.uint64)
        tables.rule_at(np.full(FUNCTIONS, slot, np.uint64), inside)
        images.close()

    return _cpu_s(look_up)


def _symbolic(library: Path) -> None:
    from symbolic.debuginfo import Archive

    next(Archive.open(str(library)).iter_objects()).make_cficache()


def _samples() -> str:
    """Microseconds of CPU time per sample, ours by the size of the batch, and perf's."""
    with tempfile.TemporaryDirectory(prefix="tracelab-bench-") as folder:
        workload = [sys.executable, "-c", BUSY.format(seconds=SECONDS)]
        ours, taken = _resolved(workload)
        theirs = _perf(workload, Path(folder))
    lines = [f"{taken:,} samples of {PROCESSES} Python processes; CPU time per sample, unwound and named", ""]
    lines += [f"{'':40}{'µs/sample':>10}{'of a core':>10}"]
    for name, us in ours.items():
        rate = 5000 if name.startswith("5,000") else 100
        lines.append(f"{'tracelab, ' + name:40}{us:10.1f}{us * rate / 1e6:10.2%}")
    share = ours["5,000 samples/s"] * 5000 / 1e6
    lines.append(
        f"goal: 5,000 samples/s below {GOALS['share']:.0%} of a core: {_reached(share < GOALS['share'])}"
    )
    if theirs is None:
        return "\n".join(
            [
                *lines,
                "perf script --call-graph dwarf: not run; perf is missing, refuses, or crashes on what it recorded",
            ]
        )
    ratio = theirs / ours["5,000 samples/s"]
    lines.insert(
        -1,
        f"{'perf script, dwarf,16384, --no-inline':40}{theirs:10.1f}{theirs * 5000 / 1e6:10.2%}  x {ratio:.0f}",
    )
    return "\n".join(lines)


def _resolved(workload: list[str]) -> tuple[dict[str, float], int]:
    probe = LoadedProbe(all_probes()["oncpu"], {"OWN_TGID": os.getpid(), "RING_PAGES": 4096})
    running = [subprocess.Popen(workload) for _ in range(PROCESSES)]
    try:
        records = _raw(probe, running[0].pid)
        for process in running:
            process.send_signal(19)  # SIGSTOP: what they have mapped is looked up now
        resolver = StackResolver(AddressSpaces.running(), KernelSymbols.running())
        resolver.resolve(records)  # symbols are read once in a recording; they are not what is measured
        return {name: _us(resolver, records, size) for name, size in BATCHES.items()}, len(records)
    finally:
        for process in running:
            process.kill()
            process.wait()
        probe.close()


def _raw(probe: LoadedProbe, pid: int) -> npt.NDArray[np.void]:
    """Samples of the shorter kind, as they come out of the ring."""
    [ring] = [ring for _, struct, ring in probe.rings() if struct == "record"]
    time.sleep(0.3)
    probe.attach(HZ)
    found = []
    until = time.monotonic() + SECONDS * 0.6
    while time.monotonic() < until:
        found.append(ring.read())
        time.sleep(0.02)
    probe.detach()
    records = np.concatenate([*found, ring.read()])
    if len(records) < 100:
        raise CannotRecord(f"only {len(records)} samples came in {SECONDS:g} s; is the machine stopped?")
    return records


def _us(resolver: StackResolver, records: npt.NDArray[np.void], size: int) -> float:
    size = min(size, len(records))
    batches = [records[at : at + size] for at in range(0, len(records) - size + 1, size)][:40]
    times = [_cpu_s(lambda: [resolver.resolve(batch) for batch in batches]) for _ in range(REPETITIONS)]
    return statistics.median(times) / (size * len(batches)) * 1e6


def _perf(workload: list[str], folder: Path) -> float | None:
    if shutil.which("perf") is None:
        return None
    data = str(folder / "perf.data")
    record = [
        "perf",
        "record",
        "-q",
        "-B",
        "-N",
        "-F",
        str(HZ),
        "--call-graph",
        "dwarf,16384",
        "-o",
        data,
        "--",
    ]
    if subprocess.run([*record, *workload], capture_output=True).returncode:
        return None
    script = [
        "perf",
        "script",
        "--no-inline",
        "-F",
        "comm,ip,sym",
        "-i",
        data,
    ]  # with, it takes a minute and more
    subprocess.run(script, capture_output=True)  # fills its caches
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(script, capture_output=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    samples = said.count(b"\n\n")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s / samples * 1e6 if samples else None


def _cpu_s(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def _reached(goal: bool) -> str:
    return "reached" if goal else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
