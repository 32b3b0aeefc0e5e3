"""Programs on network devices that have no link, against iproute2, which put them there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from loaded_bpf import bpf
from networks import needs_links
from probe_records import until
from tracelab.recorder import introspect
from tracelab.recorder.netdevices import device_programs
from tracelab.recorder.readings import BpfReadings

pytestmark = needs_links
OBJ_PIN, PROG_ATTACH = 6, 8
SCHED_CLS, XDP, TCX_EGRESS = 3, 6, 47
PASS = {SCHED_CLS: 0, XDP: 2}
DEVICE = f"tl{os.getpid() % 10**8}"


def run(*words: object) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stderr)


@pytest.fixture
def device() -> Iterator[str]:
    """One end of two links to nowhere; what is attached to it goes with it."""
    run("ip", "link", "add", DEVICE, "type", "veth", "peer", "name", f"{DEVICE}p")
    yield DEVICE
    run("ip", "link", "del", DEVICE)


@contextlib.contextmanager
def loaded(kind: int, name: bytes) -> Iterator[int]:
    """A program that lets every packet pass."""
    fd = introspect.load(kind, name, struct.pack("<BBhiBBhi", 0xB7, 0, 0, PASS[kind], 0x95, 0, 0, 0))
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def pinned(fd: int, folder: Path) -> Iterator[Path]:
    """A file by which iproute2 finds the program."""
    folder.mkdir()
    run("mount", "-t", "bpf", "bpf", folder)
    try:
        path = folder / "program"
        text = ctypes.create_string_buffer(bytes(path))
        bpf(OBJ_PIN, struct.pack("<QII", ctypes.addressof(text), fd, 0))
        yield path
    finally:
        run("umount", folder)


def attached(number: int, *types: str) -> list[str]:
    return [str(place) for place in device_programs(set(types)) if place.prog_id == number]


def test_xdp_is_shown_with_its_device_as_long_as_it_is_there(device: str, tmp_path: Path) -> None:
    with loaded(XDP, b"passes") as fd, pinned(fd, tmp_path / "bpf") as path:
        number = introspect.program(fd).prog_id
        assert attached(number, "xdp") == []
        run("ip", "link", "set", "dev", device, "xdpgeneric", "pinned", path)
        assert attached(number, "xdp") == [f"xdp {device}"]
        assert attached(number, "sched_cls") == []
        run("ip", "link", "set", "dev", device, "xdpgeneric", "off")
        assert attached(number, "xdp") == []


def test_filters_of_tc_are_shown_with_their_device_and_where_they_are_on_it(device: str, tmp_path: Path) -> None:
    with loaded(SCHED_CLS, b"passes") as fd, pinned(fd, tmp_path / "bpf") as path:
        number = introspect.program(fd).prog_id
        run("tc", "qdisc", "add", "dev", device, "clsact")
        run("tc", "qdisc", "add", "dev", device, "root", "handle", "7:", "htb")
        program = ("bpf", "direct-action", "object-pinned", path)
        for where in (("ingress",), ("egress",), ("egress",), ("parent", "7:")):
            run("tc", "filter", "add", "dev", device, *where, *program)
        assert attached(number, "sched_cls") == [f"tc {device} {at}" for at in ("7:", "ingress", "egress")]
        assert attached(number, "xdp") == []


def test_tcx_without_link_is_shown_with_its_device(device: str) -> None:
    with loaded(SCHED_CLS, b"passes") as fd:
        number = introspect.program(fd).prog_id
        index = int(Path(f"/sys/class/net/{device}/ifindex").read_text())
        try:
            bpf(PROG_ATTACH, struct.pack("<8I", index, fd, TCX_EGRESS, 0, 0, 0, 0, 0))
        except OSError as error:
            pytest.skip(f"no tcx here ({error}); it came with Linux 6.6")
        assert attached(number, "sched_cls") == [f"tcx {device}"]


def test_what_is_attached_after_it_was_loaded_is_told_in_a_later_reading(device: str, tmp_path: Path) -> None:
    readings = BpfReadings([], [], {})
    with loaded(XDP, b"passes") as fd, pinned(fd, tmp_path / "bpf") as path:
        number = introspect.program(fd).prog_id
        said: list[object] = []

        def reading() -> None:
            for table, batch in readings.take():
                if table == "bpf_progs":
                    said.extend(row["attach"] for row in batch.to_pylist() if row["prog_id"] == number)

        reading()
        assert said == [None]
        run("ip", "link", "set", "dev", device, "xdpgeneric", "pinned", path)
        until(lambda: reading() or len(said) > 1, "it is told")
    readings.close()
    assert said == [None, f"xdp {device}"]
