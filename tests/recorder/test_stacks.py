import errno
import platform

import numpy as np
import pytest

from c_programs import compiled, needs_gcc, running
from ptrace_samples import record_dtype, samples, why_no_ptrace
from tracelab.recorder import stacks as stacks_module
from tracelab.recorder.maps import AddressSpaces
from tracelab.recorder.stacks import CUT_KERNEL, REPLACED, Resolved, StackResolver
from tracelab.recorder.symbols import KernelSymbols
from tracelab.recorder.unwind import COMPLETE, NO_MAPS
from tracelab.schema import arrow_schema

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the unwinder knows x86-64 alone")

SOMEBODY = 2**31 - 2  # no process has this number
CODE, STACK = 0x7000_0000, 0x7FFE_0000_0000
BASE = 0xFFFF_FFFF_8100_0000
KALLSYMS = b"""\
ffffffff81000000 T _text
ffffffff81000000 T _stext
ffffffff81000100 T entry_SYSCALL_64
ffffffff81000200 T do_syscall_64
ffffffff81000300 T bpf_trace_run2
ffffffff81000400 T htab_map_update
ffffffff82000000 T _etext
"""


@pytest.fixture(autouse=True)
def _no_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def resolver() -> StackResolver:
    spaces = AddressSpaces()
    spaces.mmap(0, SOMEBODY, CODE, 0x1000, 0, "/gone/program")
    return StackResolver(spaces, KernelSymbols(KALLSYMS))


def sample(time_ns=1, *, user=True, kernel=(), kernel_bytes=None, pid=SOMEBODY) -> np.ndarray:
    """A sample two user frames deep, in code that keeps frame pointers, then in the kernel (leaf first)."""
    record = np.zeros(1, record_dtype())
    record["time_ns"], record["pid"], record["tid"] = time_ns, pid, pid
    record["user_ok"] = user
    record["regs"][0, [16, 4, 19, 17]] = CODE + 0x10, STACK, STACK, 0x33
    words = np.array([0, CODE + 0x20], np.uint64)
    record["stack"][0, :16] = words.view(np.uint8)
    record["stack_bytes"] = 16 if user else 0
    record["kernel"][0, : len(kernel)] = kernel
    record["kernel_bytes"] = 8 * len(kernel) if kernel_bytes is None else kernel_bytes
    return record


def symbols_of(*resolved: Resolved) -> list[list[str]]:
    """Symbols of each sample's stack, root first, from the rows of all batches so far."""
    frames = {f["frame_id"]: f["symbol"] for r in resolved for f in r.frames.to_pylist()}
    stacks = {s["stack_id"]: s["frames"] for r in resolved for s in r.stacks.to_pylist()}
    return [[frames[f] for f in stacks[int(i)]] for i in resolved[-1].stack_id]


USER = ["[program]+0x1f", "[program]+0x10"]


def test_user_frames_come_first_then_the_kernel_with_programs_in_their_place():
    resolve = resolver()
    program = 0xFFFF_FFFF_C000_0000
    resolve.kernel.bpf_symbol(0, program, 0x100, "bpf_prog_0123456789abcdef_on_enter")
    kernel = [BASE + 0x400, program + 0x40, BASE + 0x310, BASE + 0x300, BASE + 0x200]
    resolved = resolve.resolve(sample(kernel=kernel))
    assert symbols_of(resolved) == [
        [
            *USER,
            "entry_SYSCALL_64",  # a return address at the very end of its function
            "do_syscall_64",
            "bpf_trace_run2",
            "bpf_prog_0123456789abcdef_on_enter",
            "htab_map_update",
        ]
    ]
    assert resolved.frames.column("domain").to_pylist().count("bpf") == 1
    assert resolved.unwound == [COMPLETE]


def test_equal_stacks_have_one_number_and_are_written_once():
    resolve = resolver()
    one, other = sample(), sample(kernel=[BASE + 0x100])
    first = resolve.resolve(np.concatenate([one, other, one]))
    assert first.stack_id.tolist() == [1, 2, 1]
    assert first.stacks.column("stack_id").to_pylist() == [1, 2]
    again = resolve.resolve(np.concatenate([other, one]))
    assert again.stack_id.tolist() == [2, 1]
    assert (again.stacks.num_rows, again.frames.num_rows) == (0, 0)


def test_samples_may_be_unwound_first_and_named_later_when_their_copies_are_gone():
    together, apart = resolver(), resolver()
    records = np.concatenate([sample(), sample(kernel=[BASE + 0x100]), sample(user=False)])
    expected = together.resolve(records)
    traces = apart.unwind(records)
    assert traces.records.dtype.itemsize < 100 < records.dtype.itemsize
    records[:] = np.zeros(1, records.dtype)
    while apart.prepare(traces):
        assert len(traces.images) == 1
    assert not apart.prepare(traces)
    found = apart.name(traces)
    assert symbols_of(found) == symbols_of(expected)
    assert found.unwound == expected.unwound


def test_a_record_may_have_more_members_and_need_not_have_a_user_stack():
    wider = np.dtype([*record_dtype().descr, ("value", "u8"), ("weight", "u4")])
    records = np.zeros(2, wider)
    for name in record_dtype().names:
        records[name] = np.concatenate([sample(), sample(user=False, kernel=[BASE + 0x110])])[name]
    resolved = resolver().resolve(records)
    assert symbols_of(resolved) == [USER, ["entry_SYSCALL_64"]]
    assert resolved.unwound == [COMPLETE, COMPLETE]


def test_a_stack_whose_slot_another_thread_took_is_said_to_be_overwritten():
    resolved = resolver().resolve(sample(user=False, kernel_bytes=-errno.ESTALE))
    assert resolved.unwound == [REPLACED]
    assert symbols_of(resolved) == [["[unknown]+0x0"]]


def test_rows_are_those_of_the_schema():
    resolved = resolver().resolve(sample(kernel=[BASE + 0x100]))
    assert resolved.stacks.schema.equals(arrow_schema("stacks"), check_metadata=True)
    assert resolved.frames.schema.equals(arrow_schema("frames"), check_metadata=True)
    rows = {f["symbol"]: f for f in resolved.frames.to_pylist()}
    assert rows["[program]+0x10"] == {
        "frame_id": rows["[program]+0x10"]["frame_id"],
        "symbol": "[program]+0x10",
        "module": "/gone/program",
        "build_id": None,
        "offset": 0x10,
        "file": None,
        "line": None,
        "inlined": 0,
        "domain": "user",
    }
    assert rows["entry_SYSCALL_64"]["module"] == "[kernel]"
    assert rows["entry_SYSCALL_64"]["offset"] == 0x100


def test_no_samples_give_no_rows():
    resolved = resolver().resolve(np.zeros(0, record_dtype()))
    assert (len(resolved.stack_id), resolved.unwound) == (0, [])
    assert (resolved.stacks.num_rows, resolved.frames.num_rows) == (0, 0)
    assert resolved.frames.schema.equals(arrow_schema("frames"))


def test_a_kernel_thread_is_complete_with_its_kernel_frames():
    resolved = resolver().resolve(sample(user=False, kernel=[BASE + 0x400, BASE + 0x210]))
    assert symbols_of(resolved) == [["do_syscall_64", "htab_map_update"]]
    assert resolved.unwound == [COMPLETE]


def test_a_sample_without_any_frame_still_has_a_stack():
    resolved = resolver().resolve(sample(user=False))
    assert symbols_of(resolved) == [["[unknown]+0x0"]]


def test_a_kernel_stack_that_could_not_be_taken_is_told():
    resolved = resolver().resolve(sample(kernel_bytes=-errno.EFAULT))
    assert resolved.unwound == [CUT_KERNEL]
    assert symbols_of(resolved) == [USER]


def test_a_kernel_stack_of_one_frame_is_whole_only_where_the_kernel_is_entered():
    entry = KALLSYMS + (b"ffffffff81000010 T __entry_text_start\nffffffff81000180 T __entry_text_end\n")
    resolve = StackResolver(resolver().spaces, KernelSymbols(entry))
    program = 0xFFFF_FFFF_C000_0000
    resolve.kernel.bpf_symbol(0, program, 0x100, "bpf_prog_0123456789abcdef_on_enter")
    in_prologue, entering = sample(kernel=[program + 4]), sample(kernel=[BASE + 0x110])
    deeper = sample(kernel=[program + 0x20, BASE + 0x310, BASE + 0x111])
    resolved = resolve.resolve(np.concatenate([in_prologue, entering, deeper, sample()]))
    assert resolved.unwound == [CUT_KERNEL, COMPLETE, COMPLETE, COMPLETE]


def test_a_process_of_which_nothing_is_known_keeps_the_frame_that_was_sampled():
    resolved = resolver().resolve(sample(pid=SOMEBODY - 1))
    assert resolved.unwound == [NO_MAPS]
    assert symbols_of(resolved) == [[f"[unknown]+{CODE + 0x10:#x}"]]


def test_a_program_loaded_at_the_address_of_another_is_told_from_it():
    resolve = resolver()
    at = 0xFFFF_FFFF_C000_0000
    resolve.kernel.bpf_symbol(10, at, 0x100, "bpf_prog_0000000000000001_one")
    resolve.kernel.bpf_symbol(20, at, 0x100, "bpf_prog_0000000000000002_two")
    resolved = resolve.resolve(np.concatenate([sample(15, kernel=[at + 4]), sample(25, kernel=[at + 4])]))
    assert [s[-1][-3:] for s in symbols_of(resolved)] == ["one", "two"]


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(stacks_module, "MAX_STACKS", 10)
    monkeypatch.setattr(stacks_module, "MAX_NODES", 20)
    resolve = resolver()
    batches = []
    for n in range(40):
        batches.append(resolve.resolve(sample(kernel=[BASE + 0x100 + n])))
        assert symbols_of(*batches)[0][:2] == USER, "a stack never refers to a frame that was not written"
    assert len(resolve._numbering) <= 10
    assert len(resolve._frames_of_node) <= 20 + 3


def test_a_stack_taken_at_an_event_ends_there_and_not_in_the_program_that_took_it():
    resolve = resolver()
    program = 0xFFFF_FFFF_C000_0000
    resolve.kernel.bpf_symbol(0, program, 0x100, "bpf_prog_0123456789abcdef_on_switch")
    kernel = [program + 0x40, BASE + 0x310, BASE + 0x210, BASE + 0x110]
    at_event = resolve.resolve(sample(kernel=kernel), at_events=True)
    by_clock = resolve.resolve(sample(kernel=kernel))
    stack = [*USER, "entry_SYSCALL_64", "do_syscall_64"]
    assert symbols_of(at_event) == [stack]
    assert symbols_of(at_event, by_clock) == [[*stack, "bpf_trace_run2", "bpf_prog_0123456789abcdef_on_switch"]]


def test_an_event_in_an_interrupt_has_nothing_of_what_was_interrupted():
    irq = KALLSYMS.replace(
        b"ffffffff82000000", b"ffffffff81000500 T asm_sysvec_apic_timer_interrupt\nffffffff82000000"
    )
    resolve = StackResolver(resolver().spaces, KernelSymbols(irq))
    woken = sample(kernel=[BASE + 0x310, BASE + 0x410, BASE + 0x510, BASE + 0x210, BASE + 0x110])
    called = sample(kernel=[BASE + 0x310, BASE + 0x410, BASE + 0x210])
    resolved = resolve.resolve(np.concatenate([woken, called]), at_events=True)
    assert symbols_of(resolved) == [
        ["asm_sysvec_apic_timer_interrupt", "htab_map_update"],
        [*USER, "do_syscall_64", "htab_map_update"],
    ]
    assert resolved.unwound == [COMPLETE, COMPLETE]


def test_a_sample_from_inside_of_the_clocks_interrupt_has_what_that_came_upon():
    irq = KALLSYMS.replace(
        b"ffffffff82000000", b"ffffffff81000500 T asm_sysvec_apic_timer_interrupt\nffffffff82000000"
    )
    resolve = StackResolver(resolver().spaces, KernelSymbols(irq))
    late = sample(kernel=[BASE + 0x310, BASE + 0x510, BASE + 0x410, BASE + 0x210])
    lost = sample(kernel=[BASE + 0x310, BASE + 0x410])
    late["in_interrupt"] = lost["in_interrupt"] = 1
    usual = sample(kernel=[BASE + 0x310, BASE + 0x510, BASE + 0x210])
    resolved = resolve.resolve(np.concatenate([late, lost, usual]))
    assert symbols_of(resolved) == [
        [*USER, "do_syscall_64", "htab_map_update"],
        USER,
        [*USER, "do_syscall_64", "asm_sysvec_apic_timer_interrupt", "bpf_trace_run2"],
    ]
    assert resolved.unwound == [COMPLETE, CUT_KERNEL, COMPLETE]


def test_whatever_addresses_the_kernel_stack_holds_is_survived():
    odd = [0xFFFF_FFFF_FFFF_FFFF, 1, 0x7FFF_FFFF_FFFF_FFFF, 1 << 63]
    resolved = resolver().resolve(sample(kernel=odd))
    assert len(symbols_of(resolved)[0]) == 2 + len(odd)


CHAIN = """
#include <stdio.h>
volatile long sink;
static inline __attribute__((always_inline)) void spin(void) { for (;;) sink++; }
__attribute__((noinline)) void c(void) { spin(); }
__attribute__((noinline)) void b(int n) { volatile char room[200]; room[n] = 1; c(); sink++; }
__attribute__((noinline)) void a(int n) { long spare[30]; for (int i = 0; i < 30; i++) spare[i] = sink + n;
    b(n); sink += spare[n]; }
int main(int argc, char **argv) { puts("ready"); fflush(stdout); a(argc); return 0; }
"""


@needs_gcc
@pytest.mark.skipif(why_no_ptrace() is not None, reason=str(why_no_ptrace()))
def test_a_program_without_frame_pointers_is_resolved_with_inlined_functions_and_lines(tmp_path):
    program = compiled(tmp_path, CHAIN, "-O2", "-g", "-fomit-frame-pointer")
    with running(program) as process:
        resolved = StackResolver(AddressSpaces(), KernelSymbols()).resolve(samples(process.pid, 20))
    assert resolved.unwound == [COMPLETE] * 20
    for stack in symbols_of(resolved):
        assert stack[0] == "_start"
        assert stack[-5:] == ["main", "a", "b", "c", "spin"]
    rows = {f["symbol"]: f for f in resolved.frames.to_pylist()}
    assert {name: rows[name]["inlined"] for name in ("main", "c", "spin")} == {"main": 0, "c": 0, "spin": 1}
    assert rows["b"]["file"] == f"{program}.c"
    assert "c(); sink++" in CHAIN.splitlines()[rows["b"]["line"] - 1]
