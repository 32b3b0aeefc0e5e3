"""What a kernel unpacks first: the archive is to the letter, and modules come after those they need."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from kernels.initramfs import cpio, initramfs, modules_in_order


def module(depends: str) -> bytes:
    return b"\x7fELF\0license=GPL\0depends=%b\0retpoline=Y\0" % depends.encode()


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """Modules of which overlay needs none, virtiofs needs fuse and virtio, and virtio needs virtio_ring."""
    for name, content in {
        "fs/fuse/virtiofs.ko": module("fuse,virtio"),
        "fs/fuse/fuse.ko": module(""),
        "fs/overlay.ko.xz": lzma.compress(module("")),
        "drivers/virtio/virtio.ko": module("virtio-ring"),
        "drivers/virtio/virtio_ring.ko": module(""),
        "drivers/net/virtio_net.ko": module("virtio"),
    }.items():
        path = tmp_path / "6.1.0-50" / "kernel" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "6.1.0-50"


def test_an_archive_of_one_file_is_what_the_kernel_s_documentation_says() -> None:
    zeros = b"0" * 8
    first = b"070701" + b"00000001" + b"000081A4" + zeros * 2 + b"00000001" + zeros + b"00000003"
    first += zeros * 4 + b"00000005" + zeros + b"init\0" + b"\0" + b"sh\n" + b"\0"
    last = (
        b"070701"
        + b"00000002"
        + zeros * 3
        + b"00000001"
        + zeros * 6
        + b"0000000B"
        + zeros
        + b"TRAILER!!!\0"
        + b"\0\0\0"
    )
    assert cpio([("init", 0o100644, b"sh\n")]) == first + last


def test_modules_come_after_all_they_depend_on_and_built_in_ones_not_at_all(modules: Path) -> None:
    names = [path.name for path in modules_in_order(modules, ["virtio_pci", "virtiofs", "overlay"])]
    assert names == ["fuse.ko", "virtio_ring.ko", "virtio.ko", "virtiofs.ko", "overlay.ko.xz"]


def test_what_unpacks_it_finds_the_request_and_plain_modules(modules: Path, tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if not busybox:
        pytest.skip("busybox is missing, which unpacks the archive; install busybox-static")
    archive = initramfs(Path(busybox), modules, {"COMMAND": "echo 'two words'"})
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run([busybox, "cpio", "-idm"], input=archive, cwd=unpacked, check=True, capture_output=True)
    sourced = subprocess.run(
        ["sh", "-c", '. ./request && eval "$COMMAND" && echo $MODULES'],
        cwd=unpacked,
        capture_output=True,
        text=True,
    )
    assert sourced.stdout == "two words\nfuse.ko virtio_ring.ko virtio.ko virtiofs.ko overlay.ko\n"
    assert (unpacked / "modules/overlay.ko").read_bytes() == module("")
    assert (unpacked / "bin/busybox").read_bytes() == Path(busybox).read_bytes()
    assert (unpacked / "init").stat().st_mode & 0o111
