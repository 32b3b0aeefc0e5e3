"""What cannot be recorded is refused in one clear line, with the right exit code, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recordings import rows_of, workload
from tracelab.errors import NeedsBcc, ProbeUnavailable
from tracelab.recorder import loader
from tracelab.recorder.options import Options
from tracelab.recorder.probes import all_probes, read_probe
from tracelab.recorder.recording import Recording


def _record(*arguments: str, **how: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tracelab", "record", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **how)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--pid", "4194305"], 4, "there is no process 4194305; `ps -e` lists those that run"),
        (["--events", "raed"], 2, "'raed' is neither a probe nor a system call; did you mean read"),
        (["--events", "oncpu:x"], 2, "probe oncpu has one kind of event; ask for 'oncpu'"),
        (["--hz", "0"], 2, "--hz 0: a sampling rate is from 1 to 10000 per second"),
        (["--", "/no/such/program"], 2, "cannot run '/no/such/program': there is no such program"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    done = _record("-o", str(tmp_path / "s"), "-d", "1", *arguments)
    assert done.returncode == code
    assert done.stderr.startswith(f"tracelab: {said}")
    assert len(done.stderr.splitlines()) == 1


def test_an_output_that_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    done = _record("-o", str(tmp_path / "s"), "-d", "1")
    assert (done.returncode, list((tmp_path / "s").iterdir())) == (5, [])
    assert "exists already; choose another folder with -o" in done.stderr


def test_a_user_who_is_not_root_is_told_what_would_help(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o777)
    program = (
        "import email.parser, locale, os, sys, tracelab.cli, tracelab.recorder.recording, tracelab.recorder.child\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(tracelab.cli.main(['record', '-d', '1', '-o', 's']))"
    )  # imported first: another user may not be able to read where this Python is installed
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 3, done.stderr
    assert (
        "needs root, with CAP_SYS_ADMIN or both CAP_BPF and CAP_PERFMON; run it again with sudo"
        in done.stderr
    )
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "s").exists()


def test_root_without_capabilities_is_told_the_same(tmp_path: Path) -> None:
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is missing; it is in util-linux")
    drop = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", sys.executable, "-m", "tracelab"]
    done = subprocess.run(
        [*drop, "record", "-d", "1", "-o", str(tmp_path / "s")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3, done.stderr
    assert "needs root, with CAP_SYS_ADMIN" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "s").exists()


def test_a_machine_without_bcc_is_told_which_package_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_FOLDERS", ())
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "bcc", raising=False)
    with pytest.raises(NeedsBcc, match="apt-get install python3-bpfcc"):
        loader.import_bcc()


def test_a_probe_that_the_kernel_lacks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "missing.c"
    source.write_text(
        "// probe: missing\n// doc: never\n// group: user\n// table: events\n// value: count, 1\n"
        "// attach: raw_tracepoint no_such_tracepoint\n// or: tracepoint no:such\n// needs: Linux 99\n"
        '#include "tracelab.h"\nRAW_TRACEPOINT_PROBE(no_such_tracepoint) { return 0; }\n'
    )
    missing = read_probe(source)
    monkeypatch.setitem(all_probes(), "missing", missing)
    with pytest.raises(
        ProbeUnavailable, match=r"raw_tracepoint no_such_tracepoint: no such tracepoint; or .*needs Linux 99"
    ):
        Recording(tmp_path / "s", Options(events="missing")).start()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mounted = tmp_path / "disk"
    mounted.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", mounted], capture_output=True)
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {made.stderr.decode().strip()}")
    yield mounted
    subprocess.run(["umount", mounted], check=True)


def test_a_full_disk_ends_the_recording_and_keeps_what_was_written(small_disk: Path) -> None:
    done = _record("-o", str(small_disk / "s"), "--events", "syscalls", "-d", "30", "--", *workload("calls"))
    assert done.returncode == 5
    assert "No space left on device" in done.stderr
    assert "what was recorded before is kept" in done.stderr
    assert len(rows_of(small_disk / "s", "events")) > 0
