"""Differences of profiles, against a brute-force reading of the same stacks, and their laws."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions import SECOND, START_NS, session, tables_of
from tracelab.analysis.difference import Comparison, comparison, difference
from tracelab.analysis.sides import Samples, Side, event_blocks, together
from tracelab.analysis.stacks import SMALL
from tracelab.bench.synthetic_samples import synthetic_index, synthetic_profile
from tracelab.errors import UsageError
from tracelab.profile import Frame, Profile
from tracelab.query import Selection

Pairs = list[tuple[tuple[str, ...], int]]

stacks = st.lists(
    st.tuples(st.lists(st.sampled_from("abcde"), max_size=5).map(tuple), st.integers(1, 1000)), min_size=1, max_size=25
)


def profile_of(pairs: Pairs) -> Profile:
    return Profile.from_stacks([([Frame(s) for s in path], weight) for path, weight in pairs])


def compared(before: Pairs, after: Pairs, normalise: str = "none") -> Comparison:
    return comparison(Side("old", profile_of(before)), Side("new", profile_of(after)), normalise)


def totals(found: Comparison) -> dict[tuple[str, ...], tuple[float, float]]:
    """Totals of both sides by path, strips left out."""
    nodes, paths = found.nodes, {}
    for i in range(len(nodes.tree)):
        if nodes.tree.frame[i] != SMALL:
            names, at = [], i
            while at:
                names.append(nodes.tree.frames[nodes.tree.frame[at]].symbol)
                at = int(nodes.tree.parent[at])
            paths[tuple(reversed(names))] = (float(nodes.before[i]), float(nodes.after[i]))
    return paths


def brute_force(pairs: Pairs) -> Counter[tuple[str, ...]]:
    total = Counter[tuple[str, ...]]()
    for path, weight in pairs:
        for depth in range(len(path) + 1):
            total[path[:depth]] += weight
    return total


@given(stacks, stacks)
def test_every_node_has_the_totals_that_counting_gives(before, after):
    old, new = brute_force(before), brute_force(after)
    assert totals(compared(before, after)) == {path: (old[path], new[path]) for path in {*old, *new}}


@given(stacks, stacks)
def test_functions_weigh_what_counting_gives(before, after):
    rows = compared(before, after).functions.set_index("symbol")
    for side, pairs in (("before", before), ("after", after)):
        own, total = Counter(), Counter()
        for path, weight in pairs:
            own[path[-1] if path else None] += weight
            total.update(dict.fromkeys(path, weight))
        for symbol in rows.index:
            assert rows.loc[symbol, f"self_{side}"] == own[symbol]
            assert rows.loc[symbol, f"total_{side}"] == total[symbol]
    assert set(rows.index) == {symbol for path, _ in (*before, *after) for symbol in path}


@given(stacks, st.sampled_from(["none", "share"]))
def test_a_profile_less_itself_is_no_change(pairs, normalise):
    found = compared(pairs, pairs, normalise)
    assert not found.nodes.delta.any()
    assert not found.functions[["self_delta", "total_delta"]].to_numpy().any()
    assert not found.functions[["self_certain", "total_certain"]].to_numpy().any()


@given(stacks, stacks, st.sampled_from(["none", "share"]))
def test_swapping_the_sides_turns_every_sign(before, after, normalise):
    forth, back = compared(before, after, normalise), compared(after, before, normalise)
    assert {path: (b, a) for path, (a, b) in totals(back).items()} == totals(forth)
    one, other = (found.functions.set_index("symbol").sort_index() for found in (forth, back))
    assert one["self_delta"].tolist() == (-other["self_delta"]).tolist()
    assert one["total_delta"].tolist() == (-other["total_delta"]).tolist()


@given(stacks, stacks, st.integers(2, 1000))
def test_shares_do_not_depend_on_how_much_there_is(before, after, factor):
    more = [(path, weight * factor) for path, weight in after]
    one, other = compared(before, after, "share"), compared(before, more, "share")
    assert other.nodes.after == pytest.approx(one.nodes.after)
    assert other.nodes.delta == pytest.approx(one.nodes.delta)


@given(stacks, stacks, st.sampled_from(["none", "share"]), st.integers(1, 20))
def test_totals_add_up_however_much_of_the_tree_is_cut(before, after, normalise, max_nodes):
    nodes = replace(compared(before, after, normalise), max_nodes=max_nodes).nodes
    for own, total in ((nodes.before_self, nodes.before), (nodes.after_self, nodes.after)):
        below = np.bincount(nodes.tree.parent[1:], total[1:], len(total))
        assert own + below == pytest.approx(total)
        assert own.sum() == pytest.approx(total[0])
    assert nodes.tree.total == pytest.approx((nodes.before + nodes.after) / 2)


def test_what_is_too_light_to_be_seen_is_merged_and_keeps_the_weight_of_both_sides():
    heavy = 1000
    before = [(("a",), heavy), (("b", "c"), 1), (("b", "d"), 2), (("a", "e"), 3)]
    nodes = replace(compared(before, [(("a",), heavy), (("b", "d"), 4)]), max_nodes=2).nodes
    tree = nodes.tree
    named = ["…" if f == SMALL else "" if f < 0 else tree.frames[f].symbol for f in tree.frame]
    assert list(zip(named, tree.depth.tolist(), nodes.before.tolist(), nodes.after.tolist(), strict=True)) == [
        ("", 0, heavy + 6, heavy + 4),
        ("a", 1, heavy + 3, heavy),
        ("…", 2, 3, 0),
        ("…", 1, 3, 4),
    ]
    assert tree.pruned.tolist() == [0, 0, 1, 3]
    assert nodes.of_stack.tolist() == [1, 3, 3, 2, 1, 3]


def test_functions_of_two_sessions_are_matched_whatever_differs_between_recordings():
    def recorded(folder: str, tag: str, pid: int, build: str) -> Profile:
        frames = [
            Frame(f"sh ({pid})", domain="process"),
            Frame("main", f"{folder}/app", build_id=build),
            Frame(f"bpf_prog_{tag}_count", "[bpf]", "bpf"),
            Frame("[app]+0x10", f"{folder}/app", build_id=build),
        ]
        return Profile.from_stacks([(frames[:3], 5), (frames[:2] + frames[3:], 1)])

    old, new = recorded("/opt/1", "0" * 16, 7, "aaaaaaaaaa"), recorded("/opt/2", "f" * 16, 8, "bbbbbbbbbb")
    rows = comparison(Side("old", old), Side("new", new), "none").functions.sort_values("symbol")
    columns = ["symbol", "module", "total_before", "total_after"]
    assert rows[columns].to_numpy().tolist() == [
        ["[app]+0x10 (build aaaaaaaa)", "/opt/1/app", 1, 0],
        ["[app]+0x10 (build bbbbbbbb)", "/opt/2/app", 0, 1],
        ["bpf_prog_count", "[bpf]", 5, 5],
        ["main", "/opt/2/app", 6, 6],
        ["sh", "", 6, 6],
    ]


def test_profiles_of_one_session_share_their_stacks():
    both = synthetic_profile(10)
    joined, first = together(both, replace(both, weights=both.weights * 2))
    assert joined.stack_frames is both.stack_frames
    assert first == 0


def test_profiles_of_different_units_are_refused_in_words():
    other = replace(profile_of([(("a",), 1)]), quantity="off-CPU time", unit="ns")
    with pytest.raises(UsageError, match="before is samples in samples, after is off-CPU time in ns: only profiles"):
        comparison(Side("a", profile_of([(("a",), 1)])), Side("b", other))


@pytest.mark.parametrize(
    ("normalise", "message"),
    [("share", "nothing to divide by"), ("time", "nothing to divide by"), ("weight", "share, time, events, none")],
)
def test_what_cannot_be_divided_is_refused(normalise, message):
    empty = replace(profile_of([(("a",), 1)]), weights=np.zeros(1))
    with pytest.raises(UsageError, match=message):
        comparison(Side("a", empty), Side("b", empty), normalise)


TASKS = "time_s tid pid change comm cgroup\n0 7 7 seen sh /user"
STACKS = "stack_id frames\n1 1,2\n2 1"
FRAMES = "frame_id symbol\n1 main\n2 work"
SAMPLES = "time_s pid stack_id weight\n1 7 1 30\n2 7 2 10\n6 7 1 60\n8 7 2 60"
EVENTS = "time_s pid event\n1 7 read\n1.5 7 open\n6 7 read\n7 7 read\n8 7 read\n8.5 7 open"
WINDOWS = {"before": (START_NS, START_NS + 4 * SECOND), "after": (START_NS + 5 * SECOND, START_NS + 10 * SECOND)}


@pytest.mark.parametrize(
    ("normalise", "events", "unit", "main", "work"),
    [
        ("share", (), "1", (10 / 40, 60 / 120), (30 / 40, 60 / 120)),
        ("time", (), "ns/s", (10 / 4, 60 / 5), (30 / 4, 60 / 5)),
        ("events", (), "ns/event", (10 / 2, 60 / 4), (30 / 2, 60 / 4)),
        ("events", ("read",), "ns/event", (10 / 1, 60 / 3), (30 / 1, 60 / 3)),
        ("none", (), "ns", (10, 60), (30, 60)),
    ],
)
def test_two_windows_of_a_session_are_divided_as_asked(tmp_path, normalise, events, unit, main, work):
    tables = tables_of(tmp_path, samples=SAMPLES, stacks=STACKS, frames=FRAMES, tasks=TASKS, events=EVENTS)
    before, after = (tables.narrowed(Selection(window_ns=window)) for window in WINDOWS.values())
    found = difference(before, after, normalise=normalise, events=events)
    rows = found.functions.set_index("symbol")
    assert found.unit == found.functions.attrs["unit"] == unit
    assert tuple(rows.loc["main", ["self_before", "self_after"]]) == main
    assert tuple(rows.loc["work", ["self_before", "self_after"]]) == work
    assert (found.before.name, found.after.name) == ("s.tracelab: 0 s to 4 s", "s.tracelab: 5 s to 10 s")
    assert rows["self_lower"].isna().all()  # two samples a side tell nothing of noise


def test_events_are_counted_by_block_and_the_last_moment_is_in_the_last_block(tmp_path):
    tables = tables_of(tmp_path, events=EVENTS + "\n10 7 read")
    assert event_blocks(tables, (), 8).tolist() == [1, 1, 0, 0, 1, 1, 2, 1]
    assert event_blocks(tables, ("open",), 2).tolist() == [1, 1]


def test_a_baseline_that_holds_what_is_compared_says_so(tmp_path):
    tables = tables_of(tmp_path, samples=SAMPLES, stacks=STACKS, frames=FRAMES, tasks=TASKS)
    part = tables.narrowed(Selection(window_ns=WINDOWS["after"]))
    assert "100 % of after is in before, too" in " ".join(difference(tables, part).notes)
    other = tables.narrowed(Selection(window_ns=WINDOWS["before"]))
    assert "in before, too" not in " ".join(difference(other, part).notes)


def test_two_sessions_are_compared(tmp_path):
    old = session(tmp_path, name="old.tracelab", samples=SAMPLES, stacks=STACKS, frames=FRAMES, tasks=TASKS)
    frames = FRAMES.replace("1 main", "9 main").replace("2 work", "8 work")
    new = session(
        tmp_path, name="new.tracelab", samples=SAMPLES, stacks="stack_id frames\n1 9,8\n2 9", frames=frames, tasks=TASKS
    )
    rows = new.compare(old).table
    assert sorted(rows["symbol"]) == ["main", "work"]
    assert not rows[["self_delta", "total_delta"]].to_numpy().any()


# How sure differences are.


def halves(changed: dict[int, float] | None = None, *, seed: int, samples: int = 80_000) -> Comparison:
    """The second half of 60 s of synthetic samples against the first."""
    index = synthetic_index(samples, 400, depth=12, seconds=60, changed=changed, seed=seed)
    sides, middle = [], START_NS + 30 * SECOND
    for window in ((START_NS, middle), (middle, START_NS + 60 * SECOND)):
        rows = index.rows(Selection(window))
        cut = Samples(index.time_ns[rows], index.stack[rows], index.weight[rows], window, rows)
        sides.append(Side(str(window), index.profile_of(Selection(window)), cut))
    return comparison(*sides)


def test_of_two_halves_of_the_same_hardly_anything_is_called_a_change():
    runs = [halves(seed=seed) for seed in range(20)]
    outside = [((f["self_lower"] > 0) | (f["self_upper"] < 0)).sum() for f in (run.functions for run in runs)]
    known = [run.functions["self_lower"].notna().sum() for run in runs]
    assert 0.03 < sum(outside) / sum(known) < 0.07
    assert sum(run.functions["self_certain"].any() for run in runs) <= 3
    assert sum(run.node_certainty.certain.any() for run in runs) <= 3


def test_a_change_of_30_per_cent_is_found_and_little_else():
    found = [halves({0: 1.3}, seed=seed) for seed in range(10)]
    leaves = [run.stacks.stack(0)[-1].symbol for run in found]
    rows = [run.functions[run.functions["self_certain"]]["symbol"].tolist() for run in found]
    assert sum(leaf in named for leaf, named in zip(leaves, rows, strict=True)) >= 9
    assert sum(len(named) for named in rows) <= 15
    for run, leaf in zip(found, leaves, strict=True):
        row = run.functions.set_index("symbol").loc[leaf]
        assert row["self_lower"] < row["self_delta"] < row["self_upper"]
        node = int(run.nodes.of_stack[0])
        assert run.nodes.delta[node] > 0


def test_the_root_holds_everything_on_both_sides_and_never_changed_as_a_share():
    found = halves(seed=1)
    assert (found.nodes.before[0], found.nodes.after[0]) == (1.0, 1.0)
    assert not found.node_certainty.certain[0]
    assert found.block_s == (30 / 64, 30 / 64)


def test_the_same_seed_gives_the_same_intervals():
    assert halves(seed=3).functions.equals(halves(seed=3).functions)
