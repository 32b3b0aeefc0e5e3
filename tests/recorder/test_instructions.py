"""What a program's translated instructions say, for programs written here instruction by instruction."""

from __future__ import annotations

import re

import pytest

from tracelab.recorder.helpernames import HELPERS, KernelNames, helper_name
from tracelab.recorder.instructions import Code, decode
from tracelab.recorder.iterators import instruction

BASE = 0xFFFFFFFF81200000
KALLSYMS = b"""\
ffffffff81200000 T __pfx___bpf_call_base
ffffffff81200000 T __bpf_call_base
ffffffff81200100 T bpf_ktime_get_ns
ffffffff81200200 T bpf_trace_printk
ffffffff81200300 t __htab_map_lookup_elem
ffffffff81200400 T bpf_get_stackid_raw_tp
ffffffff81200500 T an_alias
ffffffff81200500 T bpf_spin_lock
ffffffff81200600 T bpf_res_spin_lock
ffffffff82000000 D jiffies_64
"""
HIDDEN = re.sub(rb"^[0-9a-f]{16}", b"0" * 16, KALLSYMS, flags=re.M)
EXIT = instruction(0x95)


def call(distance: int) -> bytes:
    return instruction(0x85, 0, 0, 0, distance)


def kfunc(distance: int) -> bytes:
    return instruction(0x85, 0, 2, 0, distance)


def load_64(register: int, source: int, value: int) -> bytes:
    return instruction(
        0x18, register, source, 0, value & 0xFFFFFFFF if value < 1 << 31 else value - (1 << 32)
    )


def map_of(number: int, *, value: bool = False) -> bytes:
    return load_64(1, 2 if value else 1, number) + instruction(0)


def read(*insns: bytes, kallsyms: bytes = KALLSYMS) -> Code:
    code = decode(b"".join(insns), KernelNames(kallsyms))
    assert code is not None
    return code


def test_helpers_are_counted_by_the_name_that_programmers_call_them() -> None:
    code = read(call(0x100), call(0x200), call(0x100), call(0x400), call(0x500), call(0x300), EXIT)
    assert code.helpers == {
        "get_stackid": 1,
        "ktime_get_ns": 2,
        "map_lookup_elem": 1,
        "spin_lock": 1,
        "trace_printk": 1,
    }
    assert (code.insns, code.spin_locks, code.tail_calls) == (7, 1, 0)


def test_maps_are_those_that_the_code_names_each_once_and_tail_calls_are_told_apart() -> None:
    code = read(map_of(7), map_of(3, value=True), map_of(7), call(12), call(12), EXIT)
    assert code.map_ids == (3, 7)
    assert code.tail_calls == 2
    assert code.helpers == {"tail_call": 2}


def test_a_call_of_a_function_of_the_program_itself_is_no_helper() -> None:
    assert read(instruction(0x85, 0, 1, 0, 2), EXIT, EXIT).helpers == {}


def test_a_kfunc_keeps_its_name_and_one_that_locks_is_a_lock() -> None:
    code = read(kfunc(0x600), kfunc(0x700), EXIT)
    assert code.helpers == {"bpf_res_spin_lock": 1, f"kfunc {0x700}": 1}
    assert code.spin_locks == 1


def test_a_function_without_a_name_is_shown_by_its_place() -> None:
    assert read(call(-0x40), EXIT).helpers == {"helper at -0x40": 1}


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("scale", [0x67, 0x27])
def test_a_lookup_that_has_become_arithmetic_is_still_a_lookup(masked: bool, scale: int) -> None:
    lookup = [
        instruction(0x07, 1, 0, 0, 272),
        instruction(0x61, 0, 2),
        instruction(0x35, 0, 0, 4 if masked else 3, 64),
        *([instruction(0x54, 0, 0, 0, 63)] if masked else []),
        instruction(scale, 0, 0, 0, 3),
        instruction(0x0F, 0, 1),
        instruction(0x05, 0, 0, 1),
        instruction(0xB7, 0),
    ]
    assert read(map_of(5), *lookup, EXIT).helpers == {"map_lookup_elem": 1}
    assert read(map_of(5), *lookup[:3], EXIT).helpers == {}


def test_reads_of_per_cpu_variables_and_of_the_clock_stand_for_the_helpers_that_they_replace() -> None:
    address_of = [instruction(0xB7, 0, 0, 0, 4), instruction(0xBF, 0, 0, -1)]
    jiffies = [load_64(0, 0, 0x82000000), instruction(0, 0, 0, 0, -1), instruction(0x79, 0, 0)]
    code = read(*address_of, instruction(0x61, 0, 0), *address_of, instruction(0x79, 0, 0), *jiffies, EXIT)
    assert code.helpers == {"get_current_task": 1, "get_smp_processor_id": 1, "jiffies64": 1}


@pytest.mark.parametrize(
    ("calls", "kallsyms"),
    [([call(0)], KALLSYMS), ([call(0x100)], b""), ([call(0x100)], HIDDEN)],
    ids=["zeros for functions", "no kallsyms", "zeros for addresses"],
)
def test_hidden_functions_are_unknown_and_not_none_at_all(calls: list[bytes], kallsyms: bytes) -> None:
    code = read(map_of(9), *calls, call(12), EXIT, kallsyms=kallsyms)
    assert (code.helpers, code.spin_locks) == (None, None)
    assert (code.map_ids, code.tail_calls, code.insns) == ((9,), 1, 5)
    assert code.row() == (5, None, 1, None, [9])


def test_instructions_that_are_not_shown_tell_nothing() -> None:
    assert decode(b"", KernelNames(KALLSYMS)) is None


def test_a_row_has_the_columns_of_the_schema() -> None:
    assert read(map_of(2), call(0x200), call(0x200), EXIT).row() == (5, '{"trace_printk": 2}', 0, 0, [2])


@pytest.mark.parametrize(
    ("function", "helper"),
    [
        ("bpf_perf_event_output_tp", "perf_event_output"),
        ("bpf_event_output_data", "perf_event_output"),
        ("bpf_probe_read_compat_str", "probe_read_str"),
        ("bpf_get_current_task_btf", "get_current_task_btf"),
        ("bpf_get_socket_cookie_sock_ops", "get_socket_cookie"),
        ("bpf_xdp_sk_lookup_tcp", "sk_lookup_tcp"),
        ("htab_lru_percpu_map_lookup_percpu_elem", "map_lookup_percpu_elem"),
        ("trie_delete_elem", "map_delete_elem"),
        ("queue_stack_map_push_elem", "map_push_elem"),
        ("bpf_for_each_hash_elem", "for_each_map_elem"),
        ("dev_map_redirect", "redirect_map"),
        ("bpf_redirect", "redirect"),
        ("bpf_new_thing", "new_thing"),
        ("schedule", "schedule"),
    ],
)
def test_functions_of_the_kernel_stand_for_helpers(function: str, helper: str) -> None:
    assert helper_name(function) == helper


def test_every_helper_stands_for_itself() -> None:
    assert [helper_name(f"bpf_{name}") for name in HELPERS] == HELPERS
