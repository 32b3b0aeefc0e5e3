"""Steps on stacks, against doing the same to each stack as a list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelab.analysis.transform import applied, callees, callers, inverted, matcher
from tracelab.errors import UsageError
from tracelab.profile import Frame, Profile

NAMES = ["main", "read", "std::sort", "std::less", "work"]
frames = st.builds(Frame, st.sampled_from(NAMES), module=st.sampled_from(["app", "libc"]))
stacks = st.lists(st.tuples(st.lists(frames, max_size=7).map(tuple), st.integers(1, 100)), max_size=12)
Pairs = list[tuple[tuple[Frame, ...], float]]


def pairs(profile: Profile) -> Pairs:
    return [(stack, weight) for stack, weight in profile.stacks()]


def one_of_neighbours(stack, kind):
    return tuple(f for i, f in enumerate(stack) if i == 0 or kind(f) is None or kind(f) != kind(stack[i - 1]))


def module_as_one(stack, module):
    named = tuple(Frame(module, module) if f.module == module else f for f in stack)
    return one_of_neighbours(named, lambda f: module if f == Frame(module, module) else None)


def prefix_as_one(stack):
    named = tuple(Frame("std::…", f.module) if f.symbol.startswith("std::") else f for f in stack)
    return one_of_neighbours(named, lambda f: "std" if f.symbol == "std::…" else None)


BY_HAND = {
    ("hide", "READ"): lambda s: tuple(f for f in s if f.symbol != "read"),
    ("hide", "/^std::/"): lambda s: tuple(f for f in s if not f.symbol.startswith("std::")),
    ("hide module", "libc"): lambda s: tuple(f for f in s if f.module != "libc"),
    ("keep", "work"): lambda s: s if any(f.symbol == "work" for f in s) else None,
    ("focus", "work"): lambda s: next((s[i:] for i, f in enumerate(s) if f.symbol == "work"), None),
    ("collapse recursion",): lambda s: one_of_neighbours(s, lambda f: (f.symbol, f.module)),
    ("collapse module", "libc"): lambda s: module_as_one(s, "libc"),
    ("collapse prefix", "std::"): prefix_as_one,
}


@pytest.mark.parametrize("step", BY_HAND)
@given(given=stacks)
def test_a_step_does_to_all_stacks_what_it_does_to_each(step, given):
    by_hand = [(BY_HAND[step](s), float(w)) for s, w in given]
    found = applied(Profile.from_stacks(given), [step])
    assert [([f.symbol for f in s], w) for s, w in pairs(found)] == [
        ([f.symbol for f in s], w) for s, w in by_hand if s is not None
    ]


@given(stacks)
def test_steps_that_filter_no_stacks_lose_no_weight(given):
    profile = Profile.from_stacks(given)
    steps = [s for s in BY_HAND if s[0] not in ("keep", "focus")]
    assert applied(profile, steps).total == profile.total


@given(stacks)
def test_inverting_twice_changes_nothing(given):
    profile = Profile.from_stacks(given)
    assert pairs(inverted(inverted(profile))) == pairs(profile)
    assert [s[::-1] for s, _ in pairs(inverted(profile))] == [s for s, _ in pairs(profile)]


@given(stacks)
def test_callers_and_callees_meet_at_the_outermost_call_and_weigh_the_same(given):
    profile = Profile.from_stacks(given)
    above, below = pairs(callers(profile, "work")), pairs(callees(profile, "work"))
    whole = [(s, w) for s, w in pairs(profile) if any(f.symbol == "work" for f in s)]
    assert [(a[0][::-1] + b[0][1:], a[1]) for a, b in zip(above, below, strict=True)] == whole


def test_what_is_no_step_and_no_expression_is_refused():
    profile = Profile.from_collapsed({"a;b": 1})
    with pytest.raises(UsageError, match=r"\['explode', 'x'\]: a step is one of hide"):
        applied(profile, [["explode", "x"]])
    with pytest.raises(UsageError, match="'hide' needs what it is about"):
        applied(profile, [["hide"]])
    with pytest.raises(UsageError, match=r"/\(/: not a regular expression"):
        matcher("/(/")
