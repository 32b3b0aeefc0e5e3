"""Which container a process is in, and what it is called.

The id stands in the path of the control group, whatever runtime made it and in both versions of control groups. The
name stands in files of the runtime; what no file tells may stand in the environment of the process.

Nothing that is read here is trusted: files are read up to a size, and what is not as expected counts as not there.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tracelab.recorder import runtimefiles

MAX_ENVIRON_BYTES = 1 << 18
TRIES = 5  #: processes of a container that are asked for its name
MAX_KNOWN = 4096

_HEX = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])|^[0-9a-f]{32}-\d{6,}$")
_MACHINE = re.compile(
    r"^(?:machine-(?!qemu\\x2d|libpod_pod_)(?:lxc\\x2d\d+\\x2d)?|systemd-nspawn@)(.+)\.(?:scope|service)$"
)
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
_OUTSIDE = re.compile(r"conmon|^lxc\.monitor\b|^supervisor$")
_LXC = re.compile(r"^lxc\.payload\.(.+)$")
_USER = re.compile(r"/user-(\d+)\.slice/")


class Container(NamedTuple):
    """A container."""

    id: str  #: the runtime's: 64 hexadecimal digits with most, a name with LXC and systemd-nspawn
    name: str | None  #: with Kubernetes namespace/pod/container; None where nothing tells


def container_id(group: str) -> str | None:
    r"""The id of the container whose control group this is, or is below; None outside of containers.

    Of containers inside containers it is the innermost. What watches a container, as conmon does, is outside of it.

    >>> container_id("/kubepods.slice/kubepods-podab.slice/cri-containerd-" + 64 * "a" + ".scope") == 64 * "a"
    True
    >>> container_id("/machine.slice/machine-my\\x2dbox.scope/payload")
    'my-box'

    Source: the runtimes' cgroup drivers: moby daemon/oci_linux.go, containerd internal/cri, cri-o
    internal/config/cgmgr, podman libpod/container_internal_linux.go, lxc src/lxc/cgroups, systemd
    src/nspawn/nspawn-register.c; Amazon ECS agent for ids of 32 digits and a number.
    """
    parts = [part.removesuffix(" (deleted)") for part in group.split("/")]
    for i in reversed(range(len(parts))):
        part, above = parts[i], parts[i - 1] if i else ""
        if _OUTSIDE.search(part):
            return None
        if "libpod_pod_" in part:
            continue
        if found := _HEX.search(part):
            return found[0]
        if found := _MACHINE.match(part):
            return _ESCAPED.sub(lambda digits: chr(int(digits[1], 16)), found[1])
        if found := _LXC.match(part):
            return found[1]
        if part and above in ("lxc", "lxc.payload") and i <= 2:
            return part
    return None


class Containers:
    """The containers of the machine below `root`, remembered once they were seen; for any thread."""

    def __init__(self, root: str | os.PathLike[str] = "/") -> None:
        self.files = runtimefiles.RuntimeFiles(Path(root))
        self._lock = threading.RLock()
        self._ids: dict[str, str | None] = {}  #: by control group
        self._names: dict[str, str] = {}
        self._tries: dict[str, int] = {}

    def of(self, pid: int, groups: Sequence[str]) -> Container | None:
        """The container that a process with these control groups is in; None when it is in none."""
        with self._lock:
            number = self.id_of(groups)
            return None if number is None else Container(number, self._name(number, pid, groups))

    def id_of(self, groups: Sequence[str]) -> str | None:
        """The id of the container with one of these control groups."""
        with self._lock:
            if len(self._ids) >= MAX_KNOWN:
                self._ids.clear()
            for group in groups:
                if group not in self._ids:
                    self._ids[group] = container_id(group) or self.files.containerd_task(group)
                if (number := self._ids[group]) is not None:
                    return number
        return None

    def name_of(self, number: str, groups: Sequence[str] = ()) -> str | None:
        """What a runtime's files call a container."""
        users = [int(found[1]) for group in groups if (found := _USER.search(group))]
        return self.files.name(number, users[:1])

    def _name(self, number: str, pid: int, groups: Sequence[str]) -> str | None:
        if number not in self._names and self._tries.get(number, 0) < TRIES:
            if len(self._tries) >= MAX_KNOWN:
                self._tries.clear()
                self._names.clear()
            self._tries[number] = self._tries.get(number, 0) + 1
            name = self.name_of(number, groups) or named_by_environment(number, environment(pid))
            if name := name or (None if _HEX.search(number) else number):
                self._names[number] = name
        return self._names.get(number)


def environment(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty when it cannot be read."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return dict(_variables(file.read(MAX_ENVIRON_BYTES)))
    return {}


def named_by_environment(number: str, variables: dict[str, str]) -> str | None:
    """What the environment of a process in a container tells of its name.

    A runtime's first process still has the environment of the runtime, so that what this process has too, and the
    name of this machine, tell nothing. A host name that is the begin of the id tells nothing either.
    """
    told = {k: v for k, v in variables.items() if v and os.environ.get(k) != v}
    host = told.get("HOSTNAME", "")
    if host == platform.node() or (len(host) >= 8 and number.startswith(host)):
        host = ""
    if name := told.get("CONTAINER_NAME"):
        return runtimefiles.shown(name)
    if "KUBERNETES_SERVICE_HOST" in variables:
        pod = told.get("POD_NAME") or host
        return runtimefiles.in_kubernetes(told.get("POD_NAMESPACE"), pod or None, None)
    return runtimefiles.shown(host) if host else None


def _variables(raw: bytes) -> Iterator[tuple[str, str]]:
    for line in raw.split(b"\0"):
        name, equals, value = line.decode("utf-8", "replace").partition("=")
        if equals:
            yield name, value
