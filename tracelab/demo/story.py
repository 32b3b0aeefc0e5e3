"""`tracelab demo`: record the programs beside the tracer, run the first notebook on it, say where the report is."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tracelab.demo import programs
from tracelab.demo.careless_tracer import careless_tracer
from tracelab.errors import CannotRecord
from tracelab.recorder.options import Options
from tracelab.recorder.recording import record
from tracelab.recorder.requirements import check_machine
from tracelab.report import notebooks_dir, report

SECONDS = 6.0
SESSION = "demo.tracelab"
RECORDED_EARLIER = "sessions/first_session.tracelab"  #: beside the notebooks


def demo(folder: Path) -> int:
    """Make a session and its report in `folder`; what an earlier demo left there is replaced.

    Where this machine cannot record, one line says why, and a session recorded earlier is used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    session = folder / SESSION
    if (session / "manifest.json").is_file():
        shutil.rmtree(session)
    try:
        check_machine()
        print(f"recording {SECONDS:.0f} s of real programs beside a careless tracer ...", flush=True)
        _record(session)
    except CannotRecord as error:
        session = notebooks_dir() / RECORDED_EARLIER
        print(f"cannot record here: {error}")
        print(f"using a session recorded earlier instead: {session}")
    print("running the notebook ...", flush=True)
    page = report(session, folder / "first_session.html")
    print(f"session  {session}\nreport   {page.resolve()}")
    return 0


def _record(session: Path) -> None:
    python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
    with careless_tracer() as tracer:
        recording = record(session, Options(), [python, programs.__file__, str(SECONDS)])
        rows = recording.manifest.tables
        print(
            f"recorded {rows['events']['rows']:,} events and {rows['samples']['rows']:,} stack samples "
            f"while {tracer} traced every system call"
        )
