"""One ring, read in different ways: by the recorder, and through BCC's callback."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from tracelab.bench.tracer import RING_MIB, NotRun, Outcome, Tracer
from tracelab.errors import TracelabError
from tracelab.recorder.loader import import_bcc
from tracelab.session.listing import part_number
from tracelab.session.manifest import Manifest
from tracelab.session.parts import publish, read_stream


class Recorder(Tracer):
    """`tracelab record`, the command itself."""

    name = "tracelab record"

    def refusal(self) -> str | None:
        """Needs BCC."""
        return _without_bcc()

    def command(self, pid: int, folder: Path) -> list[str]:
        """The syscalls probe alone."""
        options = ["--events", "syscalls", "--ring-mib", str(RING_MIB), "--pid", str(pid)]
        return [sys.executable, "-m", "tracelab", "record", "-o", str(folder / "session"), *options]

    def records(self, own_pid: int, folder: Path) -> bool:
        """The probe is attached before the session is made; the first table is written by its threads."""
        return any(folder.glob("session/tasks/part-*"))

    def outcome(self, folder: Path) -> Outcome:
        """What is in the session once every part is parquet."""
        return session_outcome(folder / "session")


class Callback(Tracer):
    """BCC's callback, in one of the styles of callback.py."""

    def __init__(self, style: str, name: str) -> None:
        self.style = style
        self.name = name

    def refusal(self) -> str | None:
        """Needs BCC."""
        return _without_bcc()

    def command(self, pid: int, folder: Path) -> list[str]:
        """The program in callback.py."""
        return [sys.executable, "-m", "tracelab.bench.callback", self.style, str(pid), str(RING_MIB)]

    def records(self, own_pid: int, folder: Path) -> bool:
        """It says so."""
        return "ready" in (folder / "stdout").read_text()

    def outcome(self, folder: Path) -> Outcome:
        """It says so; nothing is stored."""
        said = json.loads((folder / "stdout").read_text().splitlines()[-1])
        return Outcome(said["kept"], said["lost"], None, said["stored_ns"])


CALLBACKS = (
    Callback("keep_event", "BCC callback, event kept"),
    Callback("keep_fields", "BCC callback, fields kept"),
    Callback("count_only", "BCC callback, counting"),
)


def session_outcome(session: Path) -> Outcome:
    """What a session says of itself; parts that are streams yet are made parquet first, and that is accounted for."""
    manifest = Manifest.load(session)
    folder = session / "events"
    parts = [p for p in folder.glob("part-*") if p.suffix in (".parquet", ".arrows")]
    if not parts:
        raise NotRun("nothing was recorded")
    stored_ns = max(part.stat().st_mtime_ns for part in parts)
    cpu_s = time.process_time()
    for stream in sorted(p for p in parts if p.suffix == ".arrows"):
        publish(folder, part_number(stream), "events", read_stream(stream))
    cpu_s = time.process_time() - cpu_s
    files = list(folder.glob("*.parquet"))
    return Outcome(
        kept=sum(pq.read_metadata(file).num_rows for file in files),
        lost=manifest.probes["syscalls"]["counts"]["lost"],
        size_bytes=sum(file.stat().st_size for file in files),
        stored_ns=stored_ns,
        finishing_cpu_s=cpu_s,
        about={"ring_high_water_bytes": manifest.achieved["ring_high_water_bytes"]["syscalls"]},
    )


def _without_bcc() -> str | None:
    try:
        import_bcc()
    except TracelabError as error:
        return str(error)
    return None
