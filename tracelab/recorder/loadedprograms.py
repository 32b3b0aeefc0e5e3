"""Every loaded program and link: described when first seen, and again when owners or attachment change."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tracelab.recorder import attachments, instructions, introspect, netdevices
from tracelab.recorder.attachments import Attachment
from tracelab.recorder.helpernames import KernelNames
from tracelab.recorder.owners import Held

#: from a change to the next look at what is attached without link; then twice as long each time, up to the second
UNLINKED_FIRST_S, UNLINKED_LAST_S = 1.0, 30.0
SHOWN = 4  #: places that are named of a program that is attached at many
Rows = list[tuple[object, ...]]


@dataclass(slots=True)
class _Known:
    about: introspect.Program
    code: tuple[object, ...]
    said: tuple[str | None, tuple[int, ...]] | None = None  #: attachment and owners, as last written


class LoadedPrograms:
    """Remembers what was written of each program and attachment, and tells what is new."""

    def __init__(self, own: set[int]) -> None:
        self._own = own
        self._names = KernelNames()
        self._programs: dict[int, _Known] = {}
        self._links: dict[int, Attachment] = {}
        self._unlinked: list[Attachment] = []
        self._unlinked_next = self._unlinked_wait_s = 0.0
        self._attached: set[Attachment] = set()

    def refresh(self, programs: Iterable[int], links: Iterable[int]) -> bool:
        """Learn of what was loaded and attached, and forget what is gone; whether anything was."""
        programs, links = set(programs), set(links)
        changed = programs != self._programs.keys() or links != self._links.keys()
        self._programs = {n: known for n, known in self._programs.items() if n in programs}
        self._links = {n: known for n, known in self._links.items() if n in links}
        for number in sorted(programs - self._programs.keys()):
            with contextlib.suppress(OSError), introspect.opened("prog", number) as fd:
                code = instructions.decode(introspect.translated(fd), self._names)
                row = code.row() if code else (None,) * 5
                self._programs[number] = _Known(introspect.program(fd), row)
        for number in sorted(links - self._links.keys()):
            with contextlib.suppress(OSError):
                self._links[number] = attachments.link(number)
        if changed or time.monotonic() > self._unlinked_next:
            linked = {a.prog_id for a in self._links.values()}
            types = {known.about.type for n, known in self._programs.items() if n not in linked}
            found = (*attachments.cgroup_programs(types), *netdevices.device_programs(types))
            self._unlinked = [a for a in found if a.prog_id not in linked]
            wait_s = UNLINKED_FIRST_S if changed else 2 * self._unlinked_wait_s
            self._unlinked_wait_s = min(wait_s, UNLINKED_LAST_S)
            self._unlinked_next = time.monotonic() + self._unlinked_wait_s
        return changed

    def take(self, now_ns: int, held: Held) -> tuple[Rows, Rows]:
        """Rows of tables bpf_progs and bpf_links for what is new or has changed."""
        places: dict[int, list[str]] = {}
        attached = self._attachments(held)
        for place in sorted(attached, key=str):
            places.setdefault(place.prog_id, []).append(str(place))
        programs: Rows = []
        for number, known in self._programs.items():
            said = _shown(places.get(number, [])), tuple(sorted(held.programs.get(number, ())))
            if said != known.said:
                known.said = said
                programs.append(self._row(now_ns, known, *said))
        links = [
            self._link_row(now_ns, place, "seen") for place in sorted(attached - self._attached, key=str)
        ]
        links += [
            self._link_row(now_ns, place, "gone") for place in sorted(self._attached - attached, key=str)
        ]
        self._attached = attached
        return programs, links

    def _attachments(self, held: Held) -> set[Attachment]:
        """All that is known to be attached; what has a link is not told again without it."""
        self._place_links(held)
        linked = {(a.prog_id, a.type, a.target) for a in self._links.values()}
        unlinked = [*held.attached, *self._unlinked]
        known = {a.prog_id for a in (*self._links.values(), *unlinked)}
        for number, program in self._programs.items():
            sampled = program.about.type == "perf_event" and number not in known
            if sampled and held.programs.get(number, set()) & held.unnamed:
                unlinked.append(Attachment(number, "perf_event", None))
        loaded = self._programs.keys()
        return {
            *(a for a in self._links.values() if a.prog_id in loaded),
            *(a for a in unlinked if a.prog_id in loaded and (a.prog_id, a.type, a.target) not in linked),
        }

    def _place_links(self, held: Held) -> None:
        """Of links of perf events a kernel before 6.6 does not tell where they are; the perf events themselves do."""
        places: dict[int, list[Attachment]] = {}
        for place in sorted(held.attached, key=str):
            places.setdefault(place.prog_id, []).append(place)
        for number, link in self._links.items():
            found = places.get(link.prog_id)
            if link.type == "perf_event" and link.target is None and found:
                place = found.pop(0) if len(found) > 1 else found[0]
                self._links[number] = replace(link, type=place.type, target=place.target)

    def _row(
        self, now_ns: int, known: _Known, attach: str | None, owners: tuple[int, ...]
    ) -> tuple[object, ...]:
        p = known.about
        return (
            now_ns,
            p.prog_id,
            p.tag,
            p.name,
            p.type,
            attach,
            list(owners),
            _comm(owners),
            int(p.prog_id in self._own),
            p.load_time_ns,
            p.xlated_bytes,
            p.jited_bytes,
            p.verified_insns,
            list(p.map_ids),
            *known.code,
        )

    def _link_row(self, now_ns: int, place: Attachment, change: str) -> tuple[object, ...]:
        own = int(place.prog_id in self._own)
        return (now_ns, place.link_id, place.prog_id, place.type, place.target, change, own)


def _shown(places: list[str]) -> str | None:
    rest = len(places) - SHOWN
    return ", ".join(places[:SHOWN]) + (f" and {rest} more" if rest > 0 else "") or None


def _comm(owners: tuple[int, ...]) -> str | None:
    """The name of the first owner that is still there."""
    for pid in owners:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
    return None
