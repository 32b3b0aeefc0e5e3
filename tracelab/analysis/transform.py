"""Stacks rewritten before they are folded: frames hidden or collapsed, a function focused on, everything inverted.

A step is a list of a verb and what it is about, so that it can stand in a saved state; flametree.js knows the same
verbs. What a step is about is text: found anywhere in a symbol and in any case, or /a regular expression/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tracelab.errors import UsageError
from tracelab.profile import Frame, Profile

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Step = Sequence[str]


def applied(profile: Profile, steps: Iterable[Step]) -> Profile:
    """The profile after some steps, one after the other.

    ["hide", pattern]: frames that match are taken out of their stacks; no weight goes.
    ["hide module", module]: the same for all frames of a module.
    ["keep", pattern]: only stacks with a frame that matches.
    ["focus", symbol]: only stacks with this function, without its callers.
    ["collapse recursion"]: a function that calls itself is one frame.
    ["collapse module", module]: neighbours of a module are one frame, named after it.
    ["collapse prefix", prefix]: neighbours whose symbols begin so are one frame.

    Raises UsageError for another verb and for a regular expression that is none.
    """
    for step in steps:
        if not step or step[0] not in _VERBS:
            raise UsageError(f"{list(step)!r}: a step is one of {', '.join(_VERBS)}")
        verb = _VERBS[step[0]]
        if len(step) < 2 and step[0] != "collapse recursion":
            raise UsageError(f"{step[0]!r} needs what it is about: a text")
        profile = verb(profile, step[1] if len(step) > 1 else "")
    return profile


def inverted(profile: Profile) -> Profile:
    """Stacks leaf first: what was spent where, and below it who called that."""
    starts, lengths = profile.offsets[:-1], np.diff(profile.offsets)
    stack = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(profile.stack_frames))
    mirrored = (2 * starts + lengths - 1)[stack] - place
    return replace(profile, stack_frames=profile.stack_frames[mirrored])


def callees(profile: Profile, symbol: str) -> Profile:
    """Only stacks with a function, from its outermost call on."""
    return _cut(profile, _first(profile, _named(profile, symbol)), below=True)


def callers(profile: Profile, symbol: str) -> Profile:
    """Only stacks with a function, up to its outermost call, that call first: who called it."""
    return inverted(_cut(profile, _first(profile, _named(profile, symbol)), below=False))


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text matches: a plain text is found anywhere and in any case; /text/ is a regular expression.

    >>> matcher("Read")("ksys_read"), matcher("/^read/")("ksys_read")
    (True, False)
    """
    given = re.fullmatch(r"/(.*)/(i?)", pattern, re.DOTALL)
    if not given:
        low = pattern.lower()
        return lambda text: low in text.lower()
    try:
        found = re.compile(given[1], re.IGNORECASE if given[2] else 0)
    except re.error as error:
        raise UsageError(f"{pattern}: not a regular expression: {error}") from error
    return lambda text: found.search(text) is not None


def _hide(profile: Profile, pattern: str) -> Profile:
    return _without(profile, _matching(profile, pattern)[profile.stack_frames])


def _hide_module(profile: Profile, module: str) -> Profile:
    return _without(profile, _of_module(profile, module)[profile.stack_frames])


def _keep(profile: Profile, pattern: str) -> Profile:
    return _cut(profile, np.where(_first(profile, _matching(profile, pattern)) >= 0, 0, -1), below=True)


def _collapse_recursion(profile: Profile, _: str) -> Profile:
    keys = {key: i for i, key in enumerate(dict.fromkeys(map(_function, profile.frames)))}
    return _as_one(profile, np.array([keys[_function(f)] for f in profile.frames], np.int64))


def _collapse_module(profile: Profile, module: str) -> Profile:
    return _renamed(profile, _of_module(profile, module), lambda f: Frame(module, module, f.domain))


def _collapse_prefix(profile: Profile, prefix: str) -> Profile:
    begins = np.array([f.symbol.startswith(prefix) for f in profile.frames], bool)
    return _renamed(profile, begins, lambda f: Frame(f"{prefix}…", f.module, f.domain))


_VERBS: dict[str, Callable[[Profile, str], Profile]] = {
    "hide": _hide,
    "hide module": _hide_module,
    "keep": _keep,
    "focus": callees,
    "collapse recursion": _collapse_recursion,
    "collapse module": _collapse_module,
    "collapse prefix": _collapse_prefix,
}


def _function(frame: Frame) -> tuple[str, str, str]:
    return frame.symbol, frame.module, frame.domain


def _matching(profile: Profile, pattern: str) -> Bools:
    matches = matcher(pattern)
    return np.array([matches(f.symbol) for f in profile.frames], bool)


def _named(profile: Profile, symbol: str) -> Bools:
    return np.array([f.symbol == symbol for f in profile.frames], bool)


def _of_module(profile: Profile, module: str) -> Bools:
    return np.array([f.module == module for f in profile.frames], bool)


def _first(profile: Profile, wanted: Bools) -> Ints:
    """Position in each stack of the first wanted frame; -1 where there is none."""
    cells = np.flatnonzero(wanted[profile.stack_frames])[::-1] if len(wanted) else np.zeros(0, np.int64)
    stack = np.searchsorted(profile.offsets, cells, "right") - 1
    found = np.full(len(profile), -1, np.int64)
    found[stack] = cells - profile.offsets[stack]  # from behind, so that the first one stays
    return found


def _without(profile: Profile, cells: Bools) -> Profile:
    """The profile without some of its cells, as a mask over stack_frames."""
    gone = np.concatenate([[0], np.cumsum(cells)])
    return replace(
        profile,
        offsets=(profile.offsets - gone[profile.offsets]).astype(np.int64),
        stack_frames=profile.stack_frames[~cells],
    )


def _cut(profile: Profile, at: Ints, *, below: bool) -> Profile:
    """Each stack from a position on, or up to and with it; stacks whose position is -1 go."""
    starts, lengths = profile.offsets[:-1], np.diff(profile.offsets)
    stack = np.repeat(np.arange(len(lengths)), lengths)
    depth = np.arange(len(stack)) - starts[stack]
    inside = (depth >= at[stack]) if below else (depth <= at[stack])
    cut = _without(profile, ~(inside & (at >= 0)[stack]))
    keep = at >= 0
    return replace(
        cut,
        offsets=np.concatenate([[0], np.cumsum(np.diff(cut.offsets)[keep])]).astype(np.int64),
        weights=cut.weights[keep],
        complete=None if cut.complete is None else cut.complete[keep],
    )


def _renamed(profile: Profile, wanted: Bools, name: Callable[[Frame], Frame]) -> Profile:
    """The wanted frames under another name, neighbours of that name as one."""
    frames = tuple(name(f) if w else f for f, w in zip(profile.frames, wanted, strict=True))
    return _as_one(replace(profile, frames=frames), np.where(wanted, 0, -1))


def _as_one(profile: Profile, kinds: Ints) -> Profile:
    """The profile without frames of the same kind as their caller; -1 is no kind."""
    kind = kinds[profile.stack_frames] if len(kinds) else np.zeros(0, np.int64)
    same = np.zeros(len(kind), bool)
    same[1:] = (kind[1:] == kind[:-1]) & (kind[1:] >= 0)
    starts = profile.offsets[:-1][np.diff(profile.offsets) > 0]
    same[starts] = False
    return _without(profile, same)
