"""`%%record`: record while a cell runs. Load with `%load_ext tracelab`.

    %%record storm --events syscalls
    ...

records the cell, puts the session in variable `storm` and shows its summary. Options are those of
`tracelab record`; without -o the session is made in a temporary folder that lives as long as the machine's.
"""

from __future__ import annotations

import argparse
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tracelab.cli import add_record_options
from tracelab.errors import UsageError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from tracelab.api import Session


class _Parser(argparse.ArgumentParser):
    """A mistake in a magic's line is an error of the cell, not the end of the kernel."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"%%record: {message}; {self.format_usage().strip()}")


def parser() -> argparse.ArgumentParser:
    """The parser of the magic's line."""
    line = _Parser(prog="%%record", add_help=False)
    line.add_argument("name", nargs="?", default="session", help="variable that gets the session")
    add_record_options(line)
    return line


def record_cell(shell: InteractiveShell, line: str, cell: str) -> Session:
    """Record while `cell` runs in `shell`; the session is kept even when the cell raises.

    Raises UsageError and what the recorder raises.
    """
    from tracelab.api import record
    from tracelab.recorder.options import fields

    args = parser().parse_args(shlex.split(line))
    if not args.name.isidentifier():
        raise UsageError(f"%%record: {args.name!r} cannot be the name of a variable")
    path = args.output or Path(tempfile.mkdtemp(prefix="tracelab-")) / f"{args.name}.tracelab"
    recording = record(path, **{option.name: getattr(args, option.name) for option in fields()})
    with recording:
        result = shell.run_cell(cell)
    session = recording.session
    shell.push({args.name: session})
    result.raise_error()
    return session


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magic; IPython calls this."""

    def record(line: str, cell: str) -> Session:
        """Record while the cell runs; see `tracelab record --help` for the options."""
        return record_cell(shell, line, cell)

    shell.register_magic_function(record, magic_kind="cell", magic_name="record")
