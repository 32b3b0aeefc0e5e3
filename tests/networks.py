"""What tests of the network need: namespaces of their own."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def why_no_namespace(*command: str) -> str:
    """What a command said that fails in a network namespace of its own; empty where it works."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return "ip or unshare is missing; install iproute2 and util-linux"
    result = subprocess.run(["unshare", "--net", *command], capture_output=True, text=True)
    return f"{' '.join(command)}: {result.stderr.strip()}" if result.returncode else ""


_NO_NAMESPACE = why_no_namespace("ip", "link", "set", "lo", "up")
_NO_LINK = why_no_namespace(*"ip link add v0 type veth peer name v1".split())
needs_namespaces = pytest.mark.skipif(
    bool(_NO_NAMESPACE), reason=f"no network namespaces ({_NO_NAMESPACE}); run as root"
)
needs_links = pytest.mark.skipif(
    bool(_NO_LINK) or shutil.which("tc") is None,
    reason=f"no links between namespaces ({_NO_LINK or 'tc is missing'}); load the module veth, install iproute2",
)


def namespace_key(inode: int) -> int:
    """The upper half of a device's key in probe packets, from the number of its network namespace."""
    return inode & 0x7FFFFFFF
