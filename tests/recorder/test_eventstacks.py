from __future__ import annotations

import numpy as np
import pytest

from tracelab.profile import Frame
from tracelab.recorder.eventstacks import INTERRUPT, OWN, interrupted, kind_of, of_event

SYSCALL, WAKE, PROGRAM, RUN, TIMER, IDLE = range(6)
KINDS = [0, 0, OWN, OWN, INTERRUPT, 0]


def stacks_of(*stacks: list[int]) -> tuple[list[list[int]], list[bool]]:
    """What is left of kernel stacks, leaf first, and which are of interrupts."""
    depth = max(len(s) for s in stacks)
    nodes = np.array([s + [0] * (depth - len(s)) for s in stacks], np.int64).reshape(len(stacks), depth)
    found, count, interrupted = of_event(nodes, np.array([len(s) for s in stacks], np.int64), KINDS)
    return [found[i, : count[i]].tolist() for i in range(len(stacks))], interrupted.tolist()


def test_a_stack_ends_at_the_event_and_not_in_the_program_that_took_it() -> None:
    assert stacks_of([PROGRAM, RUN, WAKE, SYSCALL]) == ([[WAKE, SYSCALL]], [False])


def test_a_program_further_up_in_the_stack_is_part_of_it() -> None:
    assert stacks_of([PROGRAM, WAKE, PROGRAM, RUN, SYSCALL]) == ([[WAKE, PROGRAM, RUN, SYSCALL]], [False])


def test_a_stack_in_an_interrupt_begins_with_it() -> None:
    stacks = [PROGRAM, RUN, WAKE, TIMER, IDLE, SYSCALL], [PROGRAM, WAKE, SYSCALL]
    assert stacks_of(*stacks) == ([[WAKE, TIMER], [WAKE, SYSCALL]], [True, False])


def test_of_an_interrupt_in_an_interrupt_the_inner_one_counts() -> None:
    assert stacks_of([PROGRAM, WAKE, TIMER, IDLE, TIMER, SYSCALL]) == ([[WAKE, TIMER]], [True])


@pytest.mark.parametrize("stack", [[], [WAKE], [PROGRAM, RUN]])
def test_stacks_that_hold_little_are_survived(stack: list[int]) -> None:
    assert stacks_of(stack, [PROGRAM, WAKE, SYSCALL])[0] == [[n for n in stack if n == WAKE], [WAKE, SYSCALL]]


def test_of_a_clock_what_it_came_upon_counts_and_the_inner_interrupt_is_its_own() -> None:
    stacks = [[PROGRAM, RUN, TIMER, PROGRAM, SYSCALL], [WAKE, TIMER, WAKE, TIMER, IDLE], [PROGRAM, RUN], [TIMER]]
    nodes = np.array([s + [0] * (5 - len(s)) for s in stacks], np.int64)
    found, count = interrupted(nodes, np.array([len(s) for s in stacks], np.int64), KINDS)
    left = [found[i, : count[i]].tolist() for i in range(len(stacks))]
    assert left == [[PROGRAM, SYSCALL], [WAKE, TIMER, IDLE], [], []]


@pytest.mark.parametrize(
    ("symbol", "domain", "kind"),
    [
        ("bpf_prog_240a60287e689c22_raw_tracepoint__sched_switch", "bpf", OWN),
        ("bpf_trace_run4", "kernel", OWN),
        ("__traceiter_sched_switch", "kernel", OWN),
        ("asm_sysvec_apic_timer_interrupt", "kernel", INTERRUPT),
        ("asm_exc_page_fault", "kernel", 0),  # the program itself ran into it
        ("entry_SYSCALL_64_after_hwframe", "kernel", 0),
        ("bpf_trace_run4", "user", 0),
    ],
)
def test_frames_are_known_by_name(symbol: str, domain: str, kind: int) -> None:
    assert kind_of((Frame(symbol, "", domain),)) == kind
