"""How large rings and maps are, from the memory and the CPUs of the machine."""

from __future__ import annotations

import os
from pathlib import Path

from tracelab.recorder import host
from tracelab.recorder.probes import Probe

#: MiB of ring for each CPU: what a CPU fills while the drain sleeps at its longest, some twenty times over
PER_CPU_MIB = {"syscalls": 16.0}
PER_CPU_OTHER_MIB = 4.0
PER_CPU_SAMPLES_MIB = 4.0
LEAST_MIB, MOST_MIB = 4.0, 512.0
MEMORY_SHARE = 1 / 256  #: of the machine's memory, that one ring takes at most
MAX_SLOTS = 1 << 20
STACKS_SHARE = 1 / 512  #: of the machine's memory, for stacks of threads that wait
STACK_SLOT_BYTES = 18 << 10
MAX_STACK_SLOTS = 4096
CPUS_PER_RING = 4  #: producers of one ring wait for each other
MAX_SHARDS = 8  #: as many as bpf/tracelab.h has


def cpus() -> int:
    """Number of CPUs."""
    return os.cpu_count() or 1


def ring_mib(probe: Probe, n_cpus: int | None = None, memory_bytes: int | None = None) -> float:
    """MiB of all rings of a probe together."""
    memory = host.memory().total_bytes if memory_bytes is None else memory_bytes
    per_cpu = PER_CPU_SAMPLES_MIB if probe.table == "samples" else PER_CPU_MIB.get(probe.name, PER_CPU_OTHER_MIB)
    wanted = per_cpu * (n_cpus or cpus())
    return max(LEAST_MIB, min(wanted, MOST_MIB, memory * MEMORY_SHARE / (1 << 20)))


def shards(n_cpus: int | None = None) -> int:
    """Rings that the CPUs of a machine share out: a power of two."""
    wanted = max(1, (n_cpus or cpus()) // CPUS_PER_RING)
    return min(MAX_SHARDS, 1 << (wanted.bit_length() - 1))


def stack_slots(memory_bytes: int | None = None) -> tuple[int, int]:
    """Slots for the stacks of threads that wait, and for deep ones: powers of two, both of the same memory."""
    memory = host.memory().total_bytes if memory_bytes is None else memory_bytes
    fitting = max(64, int(memory * STACKS_SHARE) // STACK_SLOT_BYTES)
    number = min(MAX_STACK_SLOTS, 1 << (fitting.bit_length() - 1))
    return number, max(16, number // 8)


def slots() -> int:
    """Slots for what begins now and ends later, one for each thread that there can be: a power of two."""
    pid_max = int(Path("/proc/sys/kernel/pid_max").read_text())
    return min(MAX_SLOTS, 1 << (pid_max - 1).bit_length())
