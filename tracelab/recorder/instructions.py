"""What an eBPF program does, from its translated instructions: no source is needed, nor its loader.

The kernel has already rewritten the program: the number of a helper has become the distance of a function from
__bpf_call_base, and some calls have been replaced by the few instructions that they come to. Those of array
lookups, of get_smp_processor_id, get_current_task and jiffies64 are recognised, so that counts are of what the
program's source calls; other rewritten calls (get_func_ip, get_func_arg, kptr_xchg and loop, in kernels that do so)
are not seen.
Sources: kernel/bpf/verifier.c (do_misc_fixups), kernel/bpf/syscall.c (bpf_insn_prepare_dump), kernel/bpf/arraymap.c
(array_map_gen_lookup, percpu_array_map_gen_lookup, array_of_map_gen_lookup), kernel/bpf/hashtab.c.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracelab.recorder.helpernames import KernelNames, helper_name

_INSTRUCTION = np.dtype([("op", "u1"), ("registers", "u1"), ("off", "<i2"), ("imm", "<i4")])
_CALL, _LOAD_64 = 0x85, 0x18
_HELPER, _KFUNC = 0, 2  #: source register of a call
_MAP, _MAP_VALUE = 1, 2  #: source register of a load of 64 bits
_TAIL_CALL = 12
_SPIN_LOCKS = ("spin_lock", "bpf_res_spin_lock", "bpf_res_spin_lock_irqsave")
#: op, registers (source, then destination) and off of each instruction of a rewritten call; None: any
_ADD, _LOAD_W, _LOAD_DW = 0x07, 0x61, 0x79
_LOOKUP = ((_ADD, 0x01, None), (_LOAD_W, 0x20, 0), (0x35, 0x00, None))  # r1 += K; r0 = *(u32 *)r2; if r0 >= K
_PER_CPU = ((0xB7, 0x00, None), (0xBF, 0x00, -1))  # r0 = K; r0 = &per_cpu(r0)
_CPU_NUMBER = (*_PER_CPU, (_LOAD_W, 0x00, 0))
_CURRENT_TASK = (*_PER_CPU, (_LOAD_DW, 0x00, 0))


@dataclass(frozen=True, slots=True)
class Code:
    """What a program's instructions say."""

    insns: int
    helpers: dict[str, int] | None  #: places that call it, by name; kfuncs have theirs, bpf_...; None: hidden
    tail_calls: int
    spin_locks: int | None  #: None where names of functions are hidden
    map_ids: tuple[int, ...]

    def row(self) -> tuple[object, ...]:
        """As columns insns to code_map_ids of table bpf_progs."""
        helpers = None if self.helpers is None else json.dumps(self.helpers, sort_keys=True)
        return (self.insns, helpers, self.tail_calls, self.spin_locks, list(self.map_ids))


def decode(code: bytes, names: KernelNames) -> Code | None:
    """What instructions as the kernel shows them say; None when it shows none.

    The kernel hides which functions are called, as zeros, from those who may not know its addresses.
    """
    insns = np.frombuffer(code[: len(code) // 8 * 8], _INSTRUCTION)
    if not insns.size:
        return None
    source = insns["registers"] >> 4
    loads = (insns["op"] == _LOAD_64) & ((source == _MAP) | (source == _MAP_VALUE))
    calls = insns["op"] == _CALL
    helpers = insns["imm"][calls & (source == _HELPER)]
    tail_calls = int((helpers == _TAIL_CALL).sum())
    called = _called(helpers[helpers != _TAIL_CALL], insns["imm"][calls & (source == _KFUNC)], names)
    if called is not None:
        called += _rewritten(insns, names)
        called["tail_call"] = tail_calls
    return Code(
        insns=len(insns),
        helpers=None if called is None else {name: n for name, n in sorted(called.items()) if n},
        tail_calls=tail_calls,
        spin_locks=None if called is None else sum(called[name] for name in _SPIN_LOCKS),
        map_ids=tuple(sorted({int(number) for number in insns["imm"][loads]})),
    )


def _called(
    helpers: npt.NDArray[np.int32], kfuncs: npt.NDArray[np.int32], names: KernelNames
) -> Counter[str] | None:
    """Calls by name; None when they are hidden."""
    base = names.address("__bpf_call_base")
    if (len(helpers) or len(kfuncs)) and (base is None or not helpers.all() or not kfuncs.all()):
        return None
    called: Counter[str] = Counter()
    for offset, n in Counter(helpers.tolist()).items():
        function = names.name((base or 0) + offset)
        called[helper_name(function) if function else f"helper at {offset:+#x}"] += n
    for offset, n in Counter(kfuncs.tolist()).items():
        # arm64 and others keep its number in the kernel's type information instead
        called[names.name((base or 0) + offset) or f"kfunc {offset}"] += n
    return called


def _rewritten(insns: npt.NDArray[np.void], names: KernelNames) -> Counter[str]:
    """Calls that have become instructions."""
    found: Counter[str] = Counter()
    found["map_lookup_elem"] = sum(_is_lookup(insns[i:]) for i in _matches(insns, _LOOKUP))
    found["get_smp_processor_id"] = len(_matches(insns, _CPU_NUMBER))
    found["get_current_task"] = len(_matches(insns, _CURRENT_TASK))
    clocks = {names.address(name) for name in ("jiffies", "jiffies_64")} - {None}
    for i in np.flatnonzero(insns["op"][:-1] == _LOAD_64):
        low, high = int(insns["imm"][i]) & 0xFFFFFFFF, int(insns["imm"][i + 1]) & 0xFFFFFFFF
        found["jiffies64"] += (high << 32 | low) in clocks
    return found


def _matches(
    insns: npt.NDArray[np.void], pattern: tuple[tuple[int, int, int | None], ...]
) -> npt.NDArray[np.int64]:
    """Where a run of instructions begins."""
    n = max(0, len(insns) - len(pattern) + 1)
    same = np.ones(n, np.bool_)
    for i, (op, registers, off) in enumerate(pattern):
        part = insns[i : i + n]
        same &= (part["op"] == op) & (part["registers"] == registers)
        if off is not None:
            same &= part["off"] == off
    return np.flatnonzero(same)


def _is_lookup(insns: npt.NDArray[np.void]) -> bool:
    """Whether what begins as the lookup in an array goes on as one: index, scaled, added to the array's address."""
    rest = [(int(i["op"]), int(i["registers"])) for i in insns[3:6]]
    if rest and rest[0] == (0x54, 0x00):  # r0 &= mask, unless the loader may do without
        rest = rest[1:]
    return len(rest) >= 2 and rest[0] in ((0x67, 0x00), (0x27, 0x00)) and rest[1] == (0x0F, 0x10)
