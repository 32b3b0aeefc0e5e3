"""The command line: parses, calls one public function, prints.

Exit codes are those of errors.py; 0 when all went well, and for `record -- CMD` that of the command.
"""

from __future__ import annotations

import argparse
import importlib.abc
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracelab.errors import TracelabError

if TYPE_CHECKING:
    from tracelab.recorder.options import Progress
    from tracelab.recorder.recording import Recording

Handler = Callable[[argparse.Namespace], int]
INTERRUPTED = 130  #: exit code of a Ctrl-C that came when nothing was being recorded


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    args = parser().parse_args(argv)
    handler: Handler = args.handler
    try:
        return handler(args)
    except TracelabError as error:
        print(f"tracelab: {error}", file=sys.stderr)
        if args.verbose:
            traceback.print_exception(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> argparse.ArgumentParser:
    """The parser of every command; the magics use that of `record` too."""
    top = argparse.ArgumentParser(prog="tracelab", description="Shows what an eBPF tracer costs, and why.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-v", "--verbose", action="store_true", help="tell everything about an error")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    record = commands.add_parser("record", parents=[common], help="record this machine into a session folder")
    add_record_options(record)
    record.add_argument("-d", "--duration", type=float, metavar="S", help="stop after S seconds")
    record.add_argument("--control-fd", type=int, help=argparse.SUPPRESS)
    record.add_argument("argv", nargs="*", metavar="-- CMD", help="record while this command runs")
    record.set_defaults(handler=_record)

    probes = commands.add_parser(
        "probes",
        parents=[common],
        help="list the probes: what they record, cost and need, and whether this kernel can",
    )
    probes.add_argument("name", nargs="?", metavar="NAME", help="tell everything about this one")
    probes.add_argument(
        "--load", action="store_true", help="load and attach each for a moment, as root, to be sure"
    )
    probes.set_defaults(handler=_probes)

    show = commands.add_parser("show", parents=[common], help="print the summary of a session")
    show.add_argument("session", type=Path)
    show.set_defaults(handler=_show)

    diagnose = commands.add_parser("diagnose", parents=[common], help="print the findings in a session")
    diagnose.add_argument("session", type=Path)
    diagnose.set_defaults(handler=_diagnose)

    report = commands.add_parser(
        "report", parents=[common], help="run a notebook on a session, into one self-contained HTML file"
    )
    report.add_argument("session", type=Path)
    report.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: SESSION with suffix .html"
    )
    report.add_argument("--notebook", type=Path, metavar="FILE", help="default: 01_first_session.ipynb")
    report.set_defaults(handler=_report)

    demo = commands.add_parser(
        "demo", parents=[common], help="record real programs beside a careless tracer, and make the report"
    )
    demo.add_argument("-o", "--output", type=Path, default=Path("build/demo"), metavar="DIR")
    demo.set_defaults(handler=_demo)
    return top


def add_record_options(record: argparse.ArgumentParser) -> None:
    """The options that the command and the magic have in common."""
    from tracelab.recorder import options

    record.add_argument("-o", "--output", type=Path, metavar="DIR", help="session folder; must not exist")
    for option in options.fields():
        add = record.add_argument
        name, shown = f"--{option.name.replace('_', '-')}", option.metadata["help"].replace("%", "%%")
        if option.default is False:
            add(name, action="store_true", help=shown)
            continue
        kind, several = options.kind_of(option)
        if several:
            add(name, type=kind, action="append", default=[], metavar=option.metadata["metavar"], help=shown)
        else:
            default = option.default
            shown += f" ({default})" if default else ""
            add(name, type=kind, default=default, metavar=option.metadata["metavar"], help=shown)


def _record(args: argparse.Namespace) -> int:
    _do_without("pandas")  # Arrow imports it at its first look at a list; a recorder has no use for 70 MB of it
    from tracelab.recorder import memory

    memory.before_arrow()
    from tracelab.recorder.child import Control
    from tracelab.recorder.options import Options
    from tracelab.recorder.recording import record

    options = Options.of(vars(args))
    path = args.output or Path(time.strftime("%Y%m%d-%H%M%S.tracelab"))
    control = Control(args.control_fd) if args.control_fd is not None else None
    signalled: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: signalled.append(received))
    try:
        recording = record(
            path,
            options,
            args.argv,
            duration_s=args.duration,
            stop=lambda: bool(signalled),
            on_progress=None if control else _progress,
            control=control,
        )
    except TracelabError as error:
        if control:
            control.tell(error=type(error).__name__, message=str(error))
            return error.exit_code
        raise
    if control:
        control.tell(done=True)
        return 0
    print(("\r\x1b[K" if sys.stderr.isatty() else "") + _closing_line(recording), file=sys.stderr)
    print(path)
    return _exit_code(recording)


def _do_without(module: str) -> None:
    """Have imports of a module fail from now on in this process, as where it is not installed."""

    class Absent(importlib.abc.MetaPathFinder):
        def find_spec(self, fullname: str, *_: object) -> None:
            if fullname == module:
                raise ModuleNotFoundError(f"{module} is not used here", name=module)

    if module not in sys.modules:
        sys.meta_path.insert(0, Absent())


def _exit_code(recording: Recording) -> int:
    """That of the command as a shell tells it; 0 when the recording ended first."""
    command = recording.manifest.command
    if command is None or command["outlived"]:
        return 0
    code = int(command["exit_code"])
    return code if code >= 0 else 128 - code


def _progress(now: Progress, before: Progress | None) -> None:
    """On a terminal one line that renews itself; elsewhere a line every ten seconds."""
    if sys.stderr.isatty():
        print("\r\x1b[K" + now.line(before), end="", file=sys.stderr, flush=True)
    elif round(now.elapsed_s) % 10 == 0:
        print(now.line(before), file=sys.stderr, flush=True)


def _closing_line(recording: Recording) -> str:
    manifest = recording.manifest
    seconds = ((manifest.end_ns or 0) - manifest.start_ns) / 1e9
    rows = {name: about["rows"] for name, about in manifest.tables.items()}
    lost = sum(p.get("counts", {}).get("lost", 0) for p in manifest.probes.values())
    return (
        f"recorded {seconds:.1f} s: {rows.get('events', 0):,} events, {rows.get('samples', 0):,} samples, "
        f"{lost:,} lost, {recording.size_bytes / 1e6:,.1f} MB"
    )


def _probes(args: argparse.Namespace) -> int:
    from tracelab.recorder.catalogue import catalogue, details, text

    width = min(shutil.get_terminal_size((100, 24)).columns, 110)
    entries = catalogue(args.name, load=args.load)
    print(details(entries[0], width) if args.name else text(entries, width))
    return 0


def _show(args: argparse.Namespace) -> int:
    from tracelab.api import open_session

    print(open_session(args.session).summary().to_text())
    return 0


def _diagnose(args: argparse.Namespace) -> int:
    from tracelab.api import open_session

    print(open_session(args.session).diagnose().to_text())
    return 0


def _report(args: argparse.Namespace) -> int:
    from tracelab.report import report

    print(report(args.session, args.output, args.notebook))
    return 0


def _demo(args: argparse.Namespace) -> int:
    from tracelab.demo.story import demo

    return demo(args.output)
