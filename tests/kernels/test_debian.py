"""Kernels come from the mirror that apt knows, once, and into a folder of ours only."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kernels import debian

FOUND = """\
linux-image-6.12.43+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-6.12.107+deb13-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-6.12.95+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
"""
RELEASE = "6.1.0-50-cloud-amd64"
PACKAGES = {
    f"linux-image-{RELEASE}": (f"boot/vmlinuz-{RELEASE}", f"lib/modules/{RELEASE}/kernel/fs/overlay.ko"),
    f"linux-image-{RELEASE}-dbg": ("boot/vmlinux",),
    "busybox-static": ("usr/bin/busybox",),
}


def test_the_newest_is_by_number_not_by_letter() -> None:
    assert debian.newest(FOUND.splitlines()) == "linux-image-6.12.107+deb13-cloud-amd64"
    assert debian.newest([]) is None


@pytest.fixture
def mirror(tmp_path: Path) -> str:
    """A Debian archive on disk, of one suite, with a 6.1 kernel of two files, its debug symbols, and BusyBox."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("apt or dpkg is missing, from which kernels come; this is not Debian or a relative of it")
    archive = tmp_path / "archive"
    packages = archive / "dists/bookworm/main/binary-amd64/Packages"
    packages.parent.mkdir(parents=True)
    packages.write_text("\n".join(_built(archive, name, files) for name, files in PACKAGES.items()))
    about = f" {sha256_of(packages)} {packages.stat().st_size} main/binary-amd64/Packages\n"
    text = f"Suite: stable\nCodename: bookworm\nArchitectures: amd64\nComponents: main\nSHA256:\n{about}"
    (archive / "dists/bookworm/Release").write_text(text)
    return f"file:{archive}"


def _built(archive: Path, name: str, files: tuple[str, ...]) -> str:
    """Build a package of empty files; what the archive's list says of it."""
    content = archive / "content" / name
    for file in ("DEBIAN/control", *files):
        (content / file).parent.mkdir(parents=True, exist_ok=True)
        (content / file).write_text("")
    control = (
        f"Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: a <a@example.org>\nDescription: b\n"
    )
    (content / "DEBIAN/control").write_text(control)
    made = archive / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--build", content, made], check=True, capture_output=True)
    return f"{control}Filename: {made.name}\nSize: {made.stat().st_size}\nSHA256: {sha256_of(made)}\n"


def sha256_of(path: Path) -> str:
    return subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout.split()[0]


def test_a_kernel_is_fetched_and_unpacked_then_found_without_the_mirror(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(debian.SOURCE, "Trusted", "yes")  # nobody signed the archive of this test
    made = debian.kernel("6.1", tmp_path / "kernels", mirror)
    assert made.image == tmp_path / "kernels/6.1/package/boot/vmlinuz-6.1.0-50-cloud-amd64"
    assert made.modules == tmp_path / "kernels/6.1/package/lib/modules/6.1.0-50-cloud-amd64"
    assert made.busybox == tmp_path / "kernels/busybox/package/usr/bin/busybox"
    assert debian.kernel("6.1", tmp_path / "kernels", "file:/nowhere") == made


def test_a_kernel_that_the_mirror_lacks_is_told_with_the_suites_that_were_asked(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(debian.SOURCE, "Trusted", "yes")
    with pytest.raises(debian.NoKernel, match=r"no package linux-image-6.*cloud-amd64 in any of bookworm, "):
        debian.kernel("6.12", tmp_path / "kernels", mirror)


def test_an_archive_that_nobody_signed_is_not_used(mirror: str, tmp_path: Path) -> None:
    with pytest.raises(debian.NoKernel):
        debian.kernel("6.1", tmp_path / "kernels", mirror)
