"""The errors that tracelab raises on purpose.

    TracelabError                   exit code 1; the base, caught once, in cli
    ├── UsageError              2   an option or argument that cannot be meant
    ├── CannotRecord            3   this machine cannot record: says why and what would make it work
    │   ├── NeedsRoot
    │   ├── NeedsBcc
    │   └── ProbeUnavailable        the kernel lacks what a probe attaches to
    ├── NoSuchProcess           4
    ├── NoSuchGroup             4   a control group or container that there is not
    ├── SessionError            5
    │   ├── SessionExists           the output folder is there already
    │   ├── NotASession             a foreign or damaged folder
    │   └── StorageFull             the disk took no more; what was written before is kept
    └── MissingTable            6   not recorded; names the option that records it

Every message says what happened, to what, and what to do next.
"""

from __future__ import annotations


class TracelabError(Exception):
    """Base of every error raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(TracelabError):
    """An option or argument that cannot be meant."""

    exit_code = 2


class CannotRecord(TracelabError):
    """This machine cannot record; the message says why and what would make it work."""

    exit_code = 3


class NeedsRoot(CannotRecord):
    """Loading eBPF programs was refused for lack of privileges."""

    def __init__(self, refused: str = "loading eBPF programs") -> None:
        super().__init__(
            f"{refused} needs root, with CAP_SYS_ADMIN or both CAP_BPF and CAP_PERFMON; "
            "run it again with sudo, or in a container that has them"
        )


class NeedsBcc(CannotRecord):
    """The distribution's BCC Python module was not found or does not load."""


class ProbeUnavailable(CannotRecord):
    """The kernel lacks what a probe attaches to."""


class NoSuchProcess(TracelabError):
    """A process named by pid does not exist."""

    exit_code = 4


class NoSuchGroup(TracelabError):
    """A control group or container named by the user does not exist."""

    exit_code = 4


class SessionError(TracelabError):
    """A session folder that cannot be used as asked."""

    exit_code = 5


class SessionExists(SessionError):
    """The output folder exists already; nothing is overwritten."""


class NotASession(SessionError):
    """A folder that is foreign, damaged or of a newer format."""


class StorageFull(SessionError):
    """The disk took no more; whatever was written before is kept."""


class MissingTable(TracelabError):
    """A table that was not recorded: missing, which is not the same as empty."""

    exit_code = 6

    def __init__(self, table: str, how_to_record: str) -> None:
        super().__init__(f"table '{table}' was not recorded in this session; {how_to_record}")
        self.table = table
        self.how_to_record = how_to_record
