"""Sessions that are opened, and sessions that are recorded."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from tracelab.api.part import several
from tracelab.api.session import Session
from tracelab.errors import UsageError
from tracelab.recorder.child import ChildRecording, arguments
from tracelab.recorder.options import fields, kind_of
from tracelab.session.reader import Store


class Recording(ChildRecording):
    """A recording under way in another process; leave the `with` block, or call `stop`, to end it."""

    @property
    def session(self) -> Session:
        """The session; while recording, as far as it has come."""
        return open_session(self.path)


def open_session(path: str | os.PathLike[str]) -> Session:
    """The session in folder `path`. Reads its manifest only: tables are read when they are asked for.

    One whose recorder was killed is recovered first. Raises NotASession for a folder that is foreign, damaged or
    of a newer tracelab, with what was found and what to do.
    """
    return Session(Store.open(path))


def record(path: str | os.PathLike[str], **options: Any) -> Recording:
    """Record this machine into folder `path` while the `with` block runs.

        with record("x.tracelab", events="syscalls", comm="python3*", sample=10) as recording:
            ...
        recording.session

    The keywords are the options of `tracelab record`, with `_` for `-`: events, hz, pid, comm, cgroup, min_us, sample,
    budget, paths and so on; `tracelab record --help` tells of each. One value or several may be given where
    several make sense.

    Raises CannotRecord with what would make it work, SessionExists, NoSuchProcess and UsageError.
    """
    known = {option.name: kind_of(option)[1] for option in fields()}
    words: dict[str, object] = {}
    for name, value in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
            raise UsageError(f"record() has no option {name!r}; {hint}")
        if name == "events" and not isinstance(value, str):
            value = ",".join(value)
        words[name] = list(several(value) or ()) if known[name] else value
    return Recording(Path(path), arguments(**words))
