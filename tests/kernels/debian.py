"""Kernels from Debian's archive, in a folder of the project: nothing is installed, apt's state is untouched.

Where the archive is, apt knows: the mirror is the one that this machine's own sources name. Suites that it
does not use (a newer or older release, backports) are asked for in a private set of package lists.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from kernels.machine import Kernel

SUITES = ("bookworm", "bookworm-backports", "trixie", "trixie-backports")  # 6.1, 6.12, 6.12, newer
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

SOURCE = {"Types": "deb", "Suites": " ".join(SUITES), "Components": "main", "Targets": "Packages"}


class NoKernel(Exception):
    """A kernel cannot be had here; the message says why."""


def kernel(version: str, folder: Path, mirror: str | None = None) -> Kernel:
    """Debian's newest cloud kernel of a series such as 6.1; fetched once, then found in `folder`.

    With it comes BusyBox, from the package of the static one, which cannot be installed beside the other.
    Raises NoKernel when this machine has no apt, no Debian mirror in its sources (give `mirror`), or the mirror
    has no such kernel.
    """
    package = _package(
        rf"linux-image-{re.escape(version)}\.[^ ]*-cloud-amd64", folder / version, folder, mirror
    )
    busybox = _package("busybox-static", folder / "busybox", folder, mirror)
    (image,) = package.glob("boot/vmlinuz-*")
    (modules,) = (p for p in package.glob("**/lib/modules/*") if p.is_dir())
    (program,) = (p for p in busybox.glob("**/bin/busybox") if p.is_file())
    return Kernel(image, modules, program)


def _package(pattern: str, own: Path, folder: Path, mirror: str | None) -> Path:
    """The files of the newest package whose whole name matches, in `own`; fetched if they are not there."""
    unpacked = own / "package"
    if unpacked.exists():
        return unpacked
    if not shutil.which("apt-get"):
        raise NoKernel("there is no apt here to fetch Debian's kernels with")
    apt = _private_apt(folder / "apt", mirror or _mirror())
    name = newest(_output(["apt-cache", *apt, "search", "--names-only", f"^{pattern}$"]).splitlines())
    if name is None:
        raise NoKernel(f"the mirror has no package {pattern} in any of {', '.join(SUITES)}")
    partial = own / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _output(["apt-get", *apt, "--quiet", "download", name], cwd=partial)
    (package,) = partial.glob("*.deb")
    _output(["dpkg-deb", "--extract", str(package), str(partial)])
    package.unlink()
    return partial.rename(unpacked)


def newest(found: Sequence[str]) -> str | None:
    """The package with the highest numbers in its name, of lines such as `linux-image-6.1.0-50-amd64 - ...`."""
    names = [line.split()[0] for line in found if line.strip()]
    return max(names, key=lambda name: [int(digits) for digits in re.findall(r"\d+", name)], default=None)


def _mirror() -> str:
    """Address of the Debian archive in apt's own sources."""
    wanted = ["Created-By: Packages", "Origin: Debian", "Label: Debian"]
    addresses = _output(["apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted]).split()
    if not addresses:
        raise NoKernel("apt knows of no Debian archive; run apt-get update, or name one with --mirror")
    return addresses[0]


def _private_apt(folder: Path, mirror: str) -> list[str]:
    """Options that give apt lists of its own, which are then fetched."""
    for name in ("sources", "lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    source = {**SOURCE, "URIs": mirror}
    if KEYRING.exists():
        source["Signed-By"] = str(KEYRING)
    text = "".join(f"{field}: {value}\n" for field, value in source.items())
    (folder / "sources" / "debian.sources").write_text(text)
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": f"{folder}/sources",
        "Dir::State::status": f"{folder}/status",  # empty: what is installed here is no candidate
        "Dir::State::lists": f"{folder}/lists",
        "Dir::Cache": f"{folder}/cache",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root" if os.getuid() == 0 else "",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    # A suite that the mirror no longer has, or not yet, is no reason to do without the others: its failure is
    # not ours.
    subprocess.run(["apt-get", *options, "--quiet", "update"], capture_output=True, check=False)
    return options


def _output(command: Sequence[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise NoKernel(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
