"""A machine for a while: a kernel under qemu that has the host's files, and writes to none of them.

`run` boots a kernel, has it run one shell command as root in a folder of the host, and comes back when the
machine is off. The host's files reach it by virtio-fs, read only; over them lies a layer in memory, so a
program there may write anywhere and nothing of it remains. One folder is shared for writing, `/results` in
the machine.

Distribution kernels for clouds have virtio-fs and overlayfs, as modules or built in, but not 9p, so what
serves 9p (virtme-ng without virtiofsd, qemu itself) does not do.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kernels.initramfs import initramfs

RESULTS = Path("/results")  # where the machine has the folder for results
VIRTIOFSD = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "virtiofsd")  # where distributions put it
MEMORY = "3G"
MADE = (".git", ".hypothesis", ".venv", "build", "dist")  # and caches
# What stops a machine turns it off. Time comes from the time stamp counter, because to read a PC's other
# clocks costs qemu microseconds. The kernel makes no 16-byte exchanges (programs do), because those of qemu
# 7.2 spoil the flags, which is a double fault of Linux 6.12 sooner or later.
COMMAND_LINE = (
    "console=ttyS0 loglevel=7 panic=-1 oops=panic softlockup_panic=1 softlockup_all_cpu_backtrace=1"
    " clocksource=tsc tsc=reliable clearcpuid=cx16"
)
BOOT_LIMIT_S = 180  # a kernel that has not mounted its files by then never will; 5 s are usual without KVM


class NoMachine(Exception):
    """What is needed to start a machine is missing here; the message says what."""


@dataclass(frozen=True)
class Kernel:
    """A kernel as its package has it: the image, and the folder of modules, named after the release.

    `busybox` is the first program that runs on it, so it needs no library.
    """

    image: Path
    modules: Path
    busybox: Path


def run(kernel: Kernel, command: str, folder: Path, results: Path, *, limit_s: float) -> str | None:
    """Why the command did not come to its end; None when it did.

    It sees `folder` as it is now, with its .venv and without what else is made in it; what changes in it after
    that does not reach the command.
    Its exit status is then in results/status and its output in results/output; what the kernel printed is in
    results/console either way. Raises NoMachine when there is no qemu or virtiofsd.
    """
    for name in ("status", "output", "booted", "console"):
        (results / name).unlink(missing_ok=True)
    request = {"FOLDER": str(folder), "COMMAND": command, "LIMIT_S": str(limit_s)}
    with tempfile.TemporaryDirectory(prefix="tracelab-machine-") as made, contextlib.ExitStack() as stack:
        request |= {"COPY": f"{made}/folder", "MODULES_FOLDER": str(kernel.modules)}
        shutil.copytree(folder, request["COPY"], symlinks=True, ignore=partial(_what_is_made, folder))
        first_files = Path(made, "initramfs")
        first_files.write_bytes(initramfs(kernel.busybox, kernel.modules, request))
        argv = [_program("qemu-system-x86_64", "qemu-system-x86"), *processor(), *OWN_DEVICES]
        for tag, shared in {"host": Path("/"), "results": results}.items():
            socket = stack.enter_context(_served(shared, Path(made, tag)))
            argv += ["-chardev", f"socket,id={tag},path={socket}"]
            argv += ["-device", f"vhost-user-fs-pci,chardev={tag},tag={tag}"]
        argv += ["-serial", f"file:{results / 'console'}", "-kernel", str(kernel.image)]
        argv += ["-initrd", str(first_files), "-append", COMMAND_LINE]
        said = Path(made, "qemu.said")
        with _process(argv, said) as machine:
            stopped = _wait(machine, results, limit_s)
        if stopped or (results / "status").exists():
            return stopped
        return "the machine went down: " + (
            last_words(_text(results / "console")) or _text(said) or "it said nothing"
        )


# Memory that the servers of files may map, and nothing of what a PC usually has.
OWN_DEVICES = (
    *("-m", MEMORY, "-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on"),
    *("-numa", "node,memdev=memory", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
    *("-device", "virtio-rng-pci"),
)


def has_kvm() -> bool:
    """Whether a machine can run on this processor itself.

    A /dev/kvm that opens is not enough: some hosts have one without the processor's help, in which Linux stops
    at an instruction that is not emulated.
    """
    flags = re.search(r"\b(?:vmx|svm)\b", Path("/proc/cpuinfo").read_text())
    return flags is not None and os.access("/dev/kvm", os.R_OK | os.W_OK)


def processor() -> list[str]:
    """Options for two CPUs with KVM; without, for one that qemu translates.

    A second translated CPU is none to rely on: Linux patches its own code, for each tracepoint that is switched
    on and each switch of the BPF statistics, and the other CPU may go on with what it has translated, for good
    (seen with qemu 7.2 and 10.0: a loop at an INT3, or an Oops for one).
    """
    if has_kvm():
        return ["-accel", "kvm", "-cpu", "max", "-smp", "2"]
    return ["-accel", "tcg", "-cpu", "max", "-smp", "1"]


def last_words(console: str) -> str:
    """What a kernel said when it stopped; empty when it did not say.

    Example:
        >>> last_words("[ 1.0] init\\n[ 2.5] Kernel panic - not syncing: hung tasks\\n[ 2.6] CPU: 0")
        'Kernel panic - not syncing: hung tasks'
    """
    found = re.findall(r"(?:Kernel panic - not syncing|BUG|Oops|Out of memory): ?.*", console)
    return found[-1].strip() if found else ""


def _what_is_made(top: Path, folder: str, names: list[str]) -> set[str]:
    """Names of a folder that are not copied; a link to .venv is."""
    ignored = {name for name in names if name == "__pycache__" or name.endswith("_cache")}
    if Path(folder) == top:
        ignored |= {name for name in MADE if not (top / name).is_symlink()}
        ignored |= {name for name in names if name.endswith(".tracelab")}
    return ignored


def _wait(machine: subprocess.Popen[bytes], results: Path, limit_s: float) -> str | None:
    """Until the machine is off, or why it is not waited for any longer."""
    begun = time.monotonic()
    while machine.poll() is None:
        passed_s = time.monotonic() - begun
        if passed_s > BOOT_LIMIT_S and not (results / "booted").exists():
            return f"not up after {BOOT_LIMIT_S} s; see {results / 'console'}"
        if passed_s > BOOT_LIMIT_S + limit_s:
            return f"did not end within {limit_s:.0f} s, nor when told to; see {results / 'console'}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            machine.wait(timeout=1)
    return None


@contextlib.contextmanager
def _served(folder: Path, socket: Path) -> Iterator[Path]:
    """Serve a folder by virtio-fs on a socket."""
    sandbox = "chroot" if os.getuid() == 0 else "namespace"  # in a namespace, / itself cannot be served
    options = (f"source={folder}", "cache=auto", f"sandbox={sandbox}")
    argv = [_program(*VIRTIOFSD), "-f", f"--socket-path={socket}", *(w for o in options for w in ("-o", o))]
    said = socket.with_suffix(".said")
    with _process(argv, said) as server:
        while not socket.exists():
            if server.poll() is not None:
                raise NoMachine(f"virtiofsd does not run here: {_text(said)}")
            time.sleep(0.02)
        yield socket


@contextlib.contextmanager
def _process(argv: list[str], said: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone when the block is left; what it says goes to a file."""
    with said.open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _program(*names: str) -> str:
    """The first of the programs that is here."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise NoMachine(f"{names[-1]} is missing; .ci/system-packages kernels installs it where apt has it")


def _text(path: Path) -> str:
    return path.read_text(errors="replace").strip() if path.exists() else ""
