"""The tree of calls, against a brute-force reading of the same stacks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelab.analysis.shapes import shape_of
from tracelab.analysis.stacks import (
    ROOT,
    SMALL,
    Tree,
    cut_to,
    domain_weights,
    fold,
    functions,
    left_heavy,
    prune,
    weighed,
)
from tracelab.profile import Frame, Profile

Path = tuple[str, ...]

symbols = st.sampled_from("abcdefg")
stacks = st.lists(st.tuples(st.lists(symbols, max_size=6).map(tuple), st.integers(0, 1000)), max_size=40)


def profile_of(pairs: list[tuple[Path, int]]) -> Profile:
    return Profile.from_stacks([([Frame(s) for s in path], weight) for path, weight in pairs])


def path_of(tree: Tree, node: int) -> Path:
    """Names from below the root to `node`, by following the parents."""
    names: list[str] = []
    while node:
        names.append("…" if tree.frame[node] == SMALL else tree.frames[tree.frame[node]].symbol)
        node = int(tree.parent[node])
    return tuple(reversed(names))


def brute_force(pairs: list[tuple[Path, int]]) -> tuple[Counter[Path], Counter[Path]]:
    """Self and total weight by path: every prefix of a stack is a node."""
    own, total = Counter[Path](), Counter[Path]()
    for path, weight in pairs:
        own[path] += weight
        for depth in range(len(path) + 1):
            total[path[:depth]] += weight
    return own, total


def check_shape(tree: Tree) -> None:
    """What holds for every tree: preorder, slices that nest, weights that add up."""
    n = len(tree)
    assert tree.frame[0] == ROOT
    assert tree.parent[0] == 0
    assert tree.end[0] == n
    children: dict[int, list[int]] = {}
    for i in range(1, n):
        assert tree.parent[i] < i < tree.end[i] <= tree.end[tree.parent[i]]
        assert tree.depth[i] == tree.depth[tree.parent[i]] + 1
        children.setdefault(int(tree.parent[i]), []).append(i)
    for parent, below in children.items():
        assert below == [parent + 1, *(int(tree.end[c]) for c in below[:-1])]
        assert tree.end[below[-1]] == tree.end[parent]
    for i in range(n):
        assert tree.total[i] == tree.self_weight[i : tree.end[i]].sum()
        assert tree.total[i] == tree.self_weight[i] + sum(tree.total[c] for c in children.get(i, []))


@given(stacks)
def test_every_prefix_of_a_stack_is_one_node_with_its_weights(pairs):
    own, total = brute_force(pairs)
    tree = fold(profile_of(pairs))
    check_shape(tree)
    paths = [path_of(tree, i) for i in range(len(tree))]
    assert len(set(paths)) == len(paths)
    assert set(paths) == set(total) | {()}
    assert [tree.self_weight[i] for i in range(len(tree))] == [own[p] for p in paths]
    assert [tree.total[i] for i in range(len(tree))] == [total[p] for p in paths]


@given(stacks)
def test_siblings_stand_by_descending_weight(pairs):
    tree = fold(profile_of(pairs))
    for i in range(1, len(tree)):
        if tree.end[i] < tree.end[tree.parent[i]]:
            assert tree.total[i] >= tree.total[tree.end[i]]


@given(stacks, st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
def test_a_pruned_tree_keeps_every_total_and_counts_what_it_took(pairs, share):
    whole = fold(profile_of(pairs))
    tree = prune(whole, share)
    check_shape(tree)
    totals = {path_of(whole, i): whole.total[i] for i in range(len(whole))}
    paths = [path_of(tree, i) for i in range(len(tree))]
    strips = tree.frame == SMALL
    assert {p: t for p, t, s in zip(paths, tree.total, strips, strict=True) if not s} == {
        p: t for p, t in totals.items() if p == () or (t > 0 and t >= share * totals[()])
    }
    assert all(tree.end[i] == tree.end[tree.parent[i]] for i in np.flatnonzero(strips))
    assert (tree.pruned > 0).tolist() == strips.tolist()
    light = [p for p, t in totals.items() if 0 < t < share * totals[()]]
    assert tree.pruned.sum() == len(light)
    assert tree.self_weight.sum() == whole.total[0]


@given(stacks)
def test_pruning_in_two_steps_gives_what_one_step_gives(pairs):
    tree = fold(profile_of(pairs))
    once, twice = prune(tree, 0.3), prune(prune(tree, 0.1), 0.3)
    for name in ("frame", "parent", "depth", "end", "self_weight", "total", "pruned"):
        assert getattr(once, name).tolist() == getattr(twice, name).tolist(), name


@given(stacks)
def test_a_function_that_calls_itself_counts_once_per_stack(pairs):
    own, total = Counter[str](), Counter[str]()
    for path, weight in pairs:
        own.update({path[-1]: weight} if path else {})
        total.update(dict.fromkeys(path, weight))
    table = functions(profile_of(pairs)).set_index("symbol")
    assert {s: (own[s], total[s]) for s in {s for path, _ in pairs for s in path}} == {
        s: (row["self"], row["total"]) for s, row in table.iterrows()
    }


def test_a_tree_is_the_same_whatever_the_order_of_the_stacks():
    pairs = [(("a", "b", "c"), 5), (("a", "b"), 2), (("a", "d"), 9), (("e",), 4), (("a", "b", "c"), 1)]
    tree, other = fold(profile_of(pairs)), fold(profile_of(pairs[::-1]))
    described = [
        [(path_of(t, i), t.self_weight[i], t.total[i]) for i in range(len(t))] for t in (tree, other)
    ]
    assert described[0] == [
        ((), 0, 21),
        (("a",), 0, 17),
        (("a", "d"), 9, 9),
        (("a", "b"), 2, 8),
        (("a", "b", "c"), 6, 6),
        (("e",), 4, 4),
    ]
    assert described[0] == described[1]


def test_frames_of_one_function_are_one_node_that_spans_their_lines():
    frames = [
        Frame("main", "app", file="main.c", line=10),
        Frame("main", "app", file="main.c", line=14),
        Frame("main", "other", file="main.c", line=3),
    ]
    tree = fold(Profile.from_stacks([([frames[0]], 2), ([frames[1]], 3), ([frames[2]], 1)]))
    assert [(f.module, f.line, int(last)) for f, last in zip(tree.frames, tree.last_line, strict=True)] == [
        ("app", 10, 14),
        ("other", 3, 3),
    ]
    assert tree.total.tolist() == [6, 5, 1]


def test_domains_are_those_of_the_frames():
    stack = [
        Frame("bash", domain="process"),
        Frame("do_syscall_64", domain="kernel"),
        Frame("p", domain="bpf"),
    ]
    assert fold(Profile.from_stacks([(stack, 1)])).domains.tolist() == ["", "process", "kernel", "bpf"]


def test_what_an_ebpf_program_calls_is_its_time_and_the_weights_add_up_to_the_whole() -> None:
    user, kernel = Frame("main"), Frame("trace_call_bpf", domain="kernel")
    program, helper = Frame("bpf_prog_1_p", domain="bpf"), Frame("bpf_get_stackid", domain="kernel")
    stacks = [
        ([user], 1),
        ([user, kernel], 2),
        ([user, kernel, program], 4),
        ([user, kernel, program, helper], 8),
        ([user, kernel, program, helper, program, helper], 16),
        ([Frame("odd", domain="wasm"), user], 32),
    ]
    tree = fold(Profile.from_stacks(stacks))
    assert domain_weights(tree) == {"user": 33, "kernel": 2, "bpf": 28, "wasm": 0}
    assert domain_weights(fold(Profile.from_stacks([]))) == {}


def test_an_empty_profile_folds_to_the_root_and_to_no_functions():
    empty = profile_of([])
    tree = fold(empty)
    assert (len(tree), tree.total[0]) == (1, 0)
    assert len(prune(tree)) == 1
    table = functions(empty)
    assert len(table) == 0
    assert table.columns.tolist()[:3] == ["symbol", "module", "domain"]


def test_recursion_as_deep_as_twenty_thousand_frames_is_folded():
    deep = [Frame("f")] * 20_000
    tree = fold(Profile.from_stacks([(deep, 2), (deep[:100], 1)]))
    assert (len(tree), tree.depth.max()) == (20_001, 20_000)
    assert (tree.total[100], tree.total[101], tree.self_weight[100]) == (3, 2, 1)
    assert functions(tree)["total"].tolist() == [3]


def test_fractional_weights_of_light_frames_are_not_lost_beside_heavy_ones():
    tree = fold(profile_of([(("heavy",), 1e15)]))  # type: ignore[list-item]
    assert tree.total[0] == 1e15
    pairs = Profile.from_collapsed({"heavy": 1e15, "light;a": 0.1, "light;b": 0.2})
    tree = fold(pairs)
    light = [path_of(tree, i) for i in range(len(tree))].index(("light",))
    assert tree.total[light] == pytest.approx(0.3, rel=1e-15)


def test_the_table_of_functions_says_its_shares_and_unit():
    stack = [Frame("main", "app"), Frame("work", "app")]
    profile = Profile.from_stacks([(stack, 30), (stack[:1], 10)], quantity="on-CPU time", unit="ns")
    table = functions(profile)
    assert table[["symbol", "self", "total", "self_share", "share"]].to_dict("records") == [
        {"symbol": "work", "self": 30, "total": 30, "self_share": 0.75, "share": 0.75},
        {"symbol": "main", "self": 10, "total": 40, "self_share": 0.25, "share": 1.0},
    ]
    assert table.attrs == {"quantity": "on-CPU time", "unit": "ns"}


@given(stacks, st.integers(1, 20))
def test_a_tree_cut_to_some_nodes_keeps_the_heaviest_and_all_weight(pairs, nodes):
    whole = fold(profile_of(pairs))
    tree = cut_to(whole, nodes, 0)
    check_shape(tree)
    assert tree.total[0] == whole.total[0]
    kept = tree.total[tree.frame != SMALL]
    heaviest = np.sort(whole.total[whole.total > 0])[::-1]
    assert len(kept) >= min(nodes, len(heaviest))
    if len(heaviest) > nodes:
        assert kept[1:].min(initial=np.inf) >= heaviest[nodes - 1]


@given(stacks, st.integers(1, 30))
def test_a_tree_cut_within_a_node_keeps_its_callers_and_callees_and_all_weight(pairs, pick):
    whole = fold(profile_of([(path, weight + 1) for path, weight in pairs]))
    node = pick % len(whole)
    tree = prune(whole, 0, within=node)
    check_shape(tree)
    assert tree.total[0] == whole.total[0]
    below = path_of(whole, node)
    kept = {path_of(tree, i) for i in range(len(tree)) if tree.frame[i] != SMALL}
    wanted = {path_of(whole, i) for i in range(len(whole))}
    assert kept == {p for p in wanted if p[: len(below)] == below or below[: len(p)] == p}


@given(stacks)
def test_a_shape_takes_any_weights(pairs):
    profile = profile_of(pairs)
    shape = shape_of(profile)
    twice = left_heavy(weighed(shape, profile.weights * 2))
    assert twice.total.tolist() == (fold(profile).total * 2).tolist()
    assert shape_of(profile) is shape
    assert not weighed(shape, np.zeros(len(profile))).total.any()
