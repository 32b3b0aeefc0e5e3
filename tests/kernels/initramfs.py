"""The first files of a test machine: BusyBox, `init`, and the modules that the rest of the files come by."""

from __future__ import annotations

import lzma
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

INIT = Path(__file__).with_name("init")
WANTED_MODULES = ("virtio_pci", "virtio_rng", "virtiofs", "overlay", "loop")  # loop: disks for tests


def initramfs(busybox: Path, modules: Path, request: Mapping[str, str]) -> bytes:
    """The archive that a kernel unpacks before anything else.

    `modules` is the folder of the kernel's modules; `request` is what `init` reads as shell variables, to
    which the modules to be loaded are added.
    """
    loaded = {path.name.removesuffix(".xz"): module_content(path) for path in modules_in_order(modules)}
    variables = {**request, "MODULES": " ".join(loaded)}
    script = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    files = [
        ("bin", 0o040755, b""),
        ("bin/busybox", 0o100755, busybox.read_bytes()),
        ("init", 0o100755, INIT.read_bytes()),
        ("request", 0o100644, script.encode()),
        ("modules", 0o040755, b""),
    ]
    return cpio([*files, *((f"modules/{name}", 0o100644, content) for name, content in loaded.items())])


def modules_in_order(folder: Path, wanted: Iterable[str] = WANTED_MODULES) -> list[Path]:
    """Files of the wanted modules, each after all it depends on; one that is built in has none.

    What a module depends on is in its .modinfo section as `depends=a,b` (scripts/mod/modpost.c).
    """
    files = {path.name.partition(".")[0].replace("-", "_"): path for path in sorted(folder.rglob("*.ko*"))}
    ordered: dict[str, Path] = {}

    def add(name: str) -> None:
        if name in files and name not in ordered:
            depends = re.search(rb"\0depends=([^\0]*)\0", module_content(files[name]))
            for other in depends[1].decode().split(",") if depends else []:
                add(other.replace("-", "_"))
            ordered[name] = files[name]

    for name in wanted:
        add(name)
    return list(ordered.values())


def module_content(path: Path) -> bytes:
    """A module as the kernel takes it; Debian compresses them since 6.12."""
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def cpio(files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Archive of files (name, mode, content) in the form "newc", which the kernel unpacks.

    Source: Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    archive = bytearray()
    for number, (name, mode, content) in enumerate([*files, ("TRAILER!!!", 0, b"")], 1):
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
        archive += b"070701" + b"".join(b"%08X" % value for value in fields) + path
        archive += b"\0" * (-len(archive) % 4) + content
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)
