"""What container runtimes write about their containers, for the names of these.

    docker      DATA/containers/ID/config.v2.json
    containerd  STATE/io.containerd.runtime.v2.task/NAMESPACE/ID/config.json, an OCI specification with annotations
    podman      STORAGE/DRIVER-containers/containers.json, and volatile-containers.json with --rm
    cri-o       the same, and RUN/DRIVER-containers/ID/userdata/config.json

Kubernetes' names are namespace/pod/container, from the annotations and labels of the kubelet.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pwd
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]

MAX_FILE_BYTES = 16 << 20
MAX_NAME = 200
_DOCKER = ("var/lib/docker", "var/snap/docker/common/var-lib-docker")
_CONTAINERD = ("run/containerd", "run/k3s/containerd", "var/snap/microk8s/common/run/containerd")
_STORAGE = ("var/lib/containers/storage", "run/containers/storage")
_TASKS = "io.containerd.runtime.v2.task"
_ID = re.compile(r"^[\w.-]{1,128}$")
_GRAPHROOT = re.compile(r'^\s*(?:graphroot|runroot)\s*=\s*"([^"]+)"', re.M)


class RuntimeFiles:
    """The files of all runtimes below `root`; storage indexes are read again when they change."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._indexes: dict[Path, tuple[int, dict[str, str]]] = {}

    def name(self, number: str, users: Sequence[int] = ()) -> str | None:
        """The name of a container; `users` are those whose rootless runtimes may have made it."""
        if not _ID.match(number) or number in (".", ".."):
            return None
        for folder in self._docker(users):
            if name := docker_name(_json(folder / "containers" / number / "config.v2.json")):
                return name
        for task in self._tasks(number):
            if name := specification_name(_json(task / "config.json")):
                return name
        for storage in self._storage(users):
            for index in storage.glob("*-containers"):
                if name := specification_name(_json(index / number / "userdata" / "config.json")):
                    return name
                for file in ("containers.json", "volatile-containers.json"):
                    if name := self._index(index / file).get(number):
                        return name
        return None

    def containerd_task(self, group: str) -> str | None:
        """The id of the task of containerd whose control group is /NAMESPACE/ID: ids there may be any name."""
        parts = [part for part in group.split("/") if part]
        for namespace, number in itertools.pairwise(parts):
            if _ID.match(number) and any(t.parent.name == namespace for t in self._tasks(number)):
                return number
        return None

    def _tasks(self, number: str) -> Iterator[Path]:
        for folder in _CONTAINERD:
            with contextlib.suppress(OSError):
                for namespace in os.scandir(self._root / folder / _TASKS):
                    if os.path.isdir(os.path.join(namespace.path, number)):
                        yield Path(namespace.path, number)

    def _docker(self, users: Sequence[int]) -> Iterator[Path]:
        yield from (self._root / folder for folder in _DOCKER)
        elsewhere = _json(self._root / "etc/docker/daemon.json")
        if isinstance(elsewhere, dict) and isinstance(told := elsewhere.get("data-root"), str):
            yield self._below(told)
        yield from (home / ".local/share/docker" for home in self._homes(users))

    def _storage(self, users: Sequence[int]) -> Iterator[Path]:
        yield from (self._root / folder for folder in _STORAGE)
        configured = _text(self._root / "etc/containers/storage.conf", MAX_FILE_BYTES)
        yield from (self._below(told) for told in _GRAPHROOT.findall(configured or ""))
        yield from (home / ".local/share/containers/storage" for home in self._homes(users))
        yield from (self._root / f"run/user/{user}/containers" for user in users)

    def _homes(self, users: Sequence[int]) -> Iterator[Path]:
        for user in users:
            with contextlib.suppress(KeyError):
                yield self._below(pwd.getpwuid(user).pw_dir)

    def _below(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def _index(self, file: Path) -> dict[str, str]:
        try:
            changed = file.stat().st_mtime_ns
        except OSError:
            return {}
        known = self._indexes.get(file)
        if known is None or known[0] != changed:
            known = self._indexes[file] = (changed, storage_names(_json(file)))
        return known[1]


def docker_name(config: object) -> str | None:
    """The name in a config.v2.json: the kubelet's labels if it has them, else what `docker ps` shows."""
    if not isinstance(config, dict):
        return None
    about = config.get("Config")
    labels = about.get("Labels") if isinstance(about, dict) else None
    return labelled(labels) or shown((_told(config, "Name") or "").removeprefix("/"))


def specification_name(specification: object) -> str | None:
    """The name in the annotations of an OCI specification, as containerd, nerdctl and cri-o set them."""
    notes = specification.get("annotations") if isinstance(specification, dict) else None
    if not isinstance(notes, dict):
        return None
    with contextlib.suppress(ValueError, RecursionError):
        if name := labelled(json.loads(str(notes.get("io.kubernetes.cri-o.Labels") or "{}"))):
            return name
    found = in_kubernetes(
        _told(notes, "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri-o.Namespace"),
        _told(notes, "io.kubernetes.cri.sandbox-name", "io.kubernetes.cri-o.KubeName"),
        _told(notes, "io.kubernetes.cri.container-name", "io.kubernetes.container.name"),
    )
    return found or labelled(notes) or shown(_told(notes, "nerdctl/name") or "")


def storage_names(index: object) -> dict[str, str]:
    """Names by id in a containers.json of containers/storage, which podman and cri-o keep."""
    names: dict[str, str] = {}
    for entry in index if isinstance(index, list) else ():
        if isinstance(entry, dict) and isinstance(number := entry.get("id"), str):
            called = entry.get("names")
            if isinstance(called, list) and called and (name := shown(str(called[0]))):
                names[number] = name
    return names


def labelled(labels: object) -> str | None:
    """The name in labels of the kubelet."""
    if not isinstance(labels, dict):
        return None
    return in_kubernetes(
        _told(labels, "io.kubernetes.pod.namespace"),
        _told(labels, "io.kubernetes.pod.name"),
        _told(labels, "io.kubernetes.container.name"),
    )


def in_kubernetes(namespace: str | None, pod: str | None, container: str | None) -> str | None:
    """namespace/pod/container, of a pod's sandbox without the last; None when no pod is told."""
    container = None if container == "POD" else container
    return shown("/".join(part for part in (namespace, pod, container) if part)) if pod else None


def shown(name: str) -> str | None:
    """A name, cut to a sensible length; one that the kubelet gave in docker or cri-o is taken apart.

    >>> shown("k8s_nginx_web-7c5d_shop_0a1b_0")
    'shop/web-7c5d/nginx'
    """
    parts = name.split("_")
    if parts[0] == "k8s" and len(parts) == 6:
        return in_kubernetes(parts[3], parts[2], parts[1])
    if parts[0] == "k8s" and len(parts) == 5:
        return in_kubernetes(parts[2], parts[1], None)
    return name[:MAX_NAME].encode("utf-8", "replace").decode() or None


def _told(notes: Json, *keys: str) -> str | None:
    return next((v for key in keys if isinstance(v := notes.get(key), str) and v), None)


def _json(file: Path) -> object:
    text = _text(file, MAX_FILE_BYTES)
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text) if text else None
    return None


def _text(file: Path, limit: int) -> str | None:
    """The text of a regular file of at most `limit` bytes; a link in its place is not followed."""
    with contextlib.suppress(OSError):
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as opened:
            about = os.fstat(fd)
            if stat.S_ISREG(about.st_mode) and about.st_size <= limit:
                return opened.read(limit).decode("utf-8", "replace")
    return None
