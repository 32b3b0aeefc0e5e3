"""What a machine must allow for a recording, asked before anything is made."""

from __future__ import annotations

import contextlib
import os
import resource
import sys

from tracelab.errors import CannotRecord, NeedsRoot
from tracelab.recorder import introspect, sizes
from tracelab.recorder.loader import import_bcc

OPEN_FILES, OPEN_FILES_PER_CPU = 128, 8  #: that a recorder may need


def check_machine() -> None:
    """Return if this machine can record; else raise the CannotRecord that says why and what would make it work."""
    if sys.platform != "linux":
        raise CannotRecord(
            f"eBPF is part of Linux, and this is {sys.platform}; record on Linux, look at it anywhere"
        )
    try:
        os.close(introspect.load_empty_program())
    except PermissionError as error:
        raise NeedsRoot from error
    except OSError as error:
        raise CannotRecord(
            f"this kernel loads no eBPF programs ({error.strerror}); "
            "recording needs CONFIG_BPF_SYSCALL, and Linux 5.8 or later"
        ) from error
    import_bcc()


def allow_open_files() -> None:
    """Raise the limit of open files as far as it goes; raises CannotRecord where that is not enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    needed = OPEN_FILES + OPEN_FILES_PER_CPU * sizes.cpus()
    if soft != resource.RLIM_INFINITY and soft < needed:
        raise CannotRecord(
            f"{soft} open files are allowed here, and recording needs {needed}: `ulimit -n {needed}`"
        )
