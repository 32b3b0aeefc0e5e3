"""The manifest of a session: who recorded what, on which machine, with which clocks, and how it ended.

It is written first and replaced atomically, so that a session has a readable manifest at every moment.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast

from tracelab.errors import NotASession
from tracelab.schema import SCHEMA_VERSION

FORMAT = "tracelab-session"
FILE_NAME = "manifest.json"
STATES = ("recording", "complete", "recovered")
MAX_BYTES = 16 << 20  #: a larger manifest is damaged or hostile
STEP_NS = 50_000_000  #: a wall clock that is off by more was set
SLEW = 1000  #: a wall clock is slowed down or sped up by at most one in that many, adjtimex(2)
State = Literal["recording", "complete", "recovered"]
Json = dict[str, Any]


@dataclass
class Manifest:
    """Everything about a session that is not a row of a table; times are CLOCK_MONOTONIC ns."""

    session_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: State = "recording"
    created_by: str = "tracelab"
    start_ns: int = 0
    end_ns: int | None = None
    writer: Json = field(default_factory=dict)  #: pid, start_ticks and boot_id: tells if it is still alive
    host: Json = field(default_factory=dict)  #: hostname, kernel, machine, cpus, mem_total_bytes, distribution
    clock: Json = field(default_factory=dict)  #: monotonic_ns, realtime_ns, boottime_ns of one moment
    clock_end: Json = field(default_factory=dict)  #: the same at the end; empty when the recorder died
    targets: list[Json] = field(default_factory=list)  #: of each target: asked, pids, comm, prog_ids
    options: Json = field(default_factory=dict)  #: what was asked for
    achieved: Json = field(default_factory=dict)  #: what was got: sampling rate per CPU, ring sizes
    probes: Json = field(default_factory=dict)  #: name -> doc, value, attach, counts
    calibration: Json = field(default_factory=dict)  #: bpf_stats_floor_ns
    recorder: Json = field(default_factory=dict)  #: pid, prog_ids, cpu_ns: the recorder's own cost
    command: Json | None = None  #: argv, pid, exit_code and outlived of the recorded command
    not_recorded: dict[str, str] = field(default_factory=dict)  #: what -> why, and how to get it
    tables: dict[str, Json] = field(default_factory=dict)  #: name -> rows, once the session is closed
    notes: list[str] = field(default_factory=list)
    format: str = FORMAT
    schema_version: int = SCHEMA_VERSION

    def save(self, session: Path) -> None:
        """Replace the manifest in `session` atomically and durably; raises OSError."""
        target = session / FILE_NAME
        temporary = session / (FILE_NAME + ".tmp")
        with open(temporary, "w", encoding="utf-8") as out:
            json.dump(asdict(self), out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)

    @classmethod
    def load(cls, session: Path) -> Manifest:
        """The manifest of `session`; raises NotASession, with file, finding and remedy."""
        file = session / FILE_NAME
        if not session.exists():
            raise NotASession(f"{session} does not exist; give the folder that `tracelab record -o` wrote")
        if not session.is_dir():
            raise NotASession(f"{session} is a file; a session is a folder with a {FILE_NAME} in it")
        if not file.is_file():
            raise NotASession(
                f"{session} holds no {FILE_NAME}, so it is not a tracelab session; "
                "give the folder that `tracelab record -o` wrote"
            )
        return cls._parse(file)

    @classmethod
    def _parse(cls, file: Path) -> Manifest:
        remedy = "restore the file from a copy, or record again"
        if file.stat().st_size > MAX_BYTES:
            raise NotASession(f"{file} is larger than {MAX_BYTES >> 20} MiB, which no manifest is; {remedy}")
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError, OSError) as error:
            raise NotASession(f"{file} is damaged: expected JSON, found {error}; {remedy}") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise NotASession(f'{file}: expected "format": "{FORMAT}", found {found!r}; {remedy}')
        version = data.get("schema_version")
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise NotASession(
                f"{file}: this tracelab reads schema versions up to {SCHEMA_VERSION}, found {version!r}; "
                "upgrade with `pip install -U tracelab-ebpf`"
            )
        return cls._checked(file, cast(Json, data))

    @classmethod
    def _checked(cls, file: Path, data: Json) -> Manifest:
        default = cls()
        known: Json = {}
        for f in fields(cls):
            value, like = data.get(f.name, getattr(default, f.name)), getattr(default, f.name)
            expected: tuple[type, ...] = (type(like),)
            if f.name == "end_ns":
                expected = (int, type(None))
            if f.name == "command":
                expected = (dict, type(None))
            if not isinstance(value, expected):
                raise NotASession(
                    f"{file}: field {f.name!r} should be {expected[0].__name__}, found "
                    f"{type(value).__name__}; restore the file from a copy, or record again"
                )
            known[f.name] = value
        if known["state"] not in STATES:
            raise NotASession(f"{file}: state should be one of {', '.join(STATES)}, found {known['state']!r}")
        return cls(**known)


def clock_reading() -> Json:
    """One moment on three clocks: what maps the time_ns columns to wall time."""
    return {
        "monotonic_ns": time.clock_gettime_ns(time.CLOCK_MONOTONIC),
        "realtime_ns": time.clock_gettime_ns(time.CLOCK_REALTIME),
        "boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    }


def clock_steps(start: Json, end: Json) -> list[str]:
    """What to say when the wall clock was set between two readings, rather than only disciplined."""
    elapsed_ns = end["monotonic_ns"] - start["monotonic_ns"]
    stepped_ns = end["realtime_ns"] - start["realtime_ns"] - elapsed_ns
    if abs(stepped_ns) <= STEP_NS + elapsed_ns // SLEW:
        return []
    return [
        f"the wall clock was set by {stepped_ns / 1e9:+.3f} s during the recording; "
        "times within it are not affected, dates are those of its beginning"
    ]


def process_identity(pid: int) -> Json | None:
    """What tells a living process from a later one with its pid; None when there is none such."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return {"pid": pid, "start_ticks": int(stat.rpartition(")")[2].split()[19]), "boot_id": boot_id}
