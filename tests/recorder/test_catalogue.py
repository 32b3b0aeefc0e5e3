"""What `tracelab probes` prints: of every probe what it records, what that costs, and whether this kernel can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tracelab.errors import UsageError
from tracelab.recorder.catalogue import Entry, catalogue, details, text
from tracelab.recorder.probes import Probe, all_probes, read_probe

SOURCE = """
// probe:  naps
// doc:    one event per nap of a cat: where it slept, and for how long it could not be asked anything
// group:  scheduling
// table:  events
// value:  duration, ns, of the nap
// ret:    0, or what woke it
// key:    the cat
// size:   bytes dreamt of
// event:  place sofa roof sofa
// rings:  ring record, texts text
// function: key
// attach: raw_tracepoint nap_begin, raw_tracepoint nap_end
// or:     tracepoint cats:nap
// also:   raw_tracepoint nap_twitch
// cost:   90 ns a nap (BPF run statistics, on a busy VM with 2 CPUs)
// needs:  Linux 5.8 with cats
#ifndef PATHS
#define PATHS 0
#endif
struct record {
	u64 time_ns;
	u64 value;
	s64 ret;
	u64 key;
	u64 size_bytes;
	u16 place;
};
struct text {
	u64 time_ns;
	u16 place;
	char path[64];
};
"""


@pytest.fixture
def naps(tmp_path: Path) -> Probe:
    (tmp_path / "naps.c").write_text(SOURCE)
    return read_probe(tmp_path / "naps.c")


def test_probes_stand_aligned_below_their_group_with_cost_and_what_is_missing(naps: Probe) -> None:
    dogs = replace(
        naps, name="barks_at_night", group="user", doc="one event per bark", cost="5 us; on a VM with 2 CPUs"
    )
    entries = [Entry(dogs, "", "no such tracepoint"), Entry(naps, "raw_tracepoint nap_begin", "")]
    assert text(entries, 72) == (
        "Scheduling\n"
        "+ naps            one event per nap of a cat: where it slept, and for\n"
        "                  how long it could not be asked anything\n"
        "                  cost: 90 ns a nap\n"
        "\n"
        "User\n"
        "- barks_at_night  one event per bark\n"
        "                  cost: 5 us\n"
        "                  not here: no such tracepoint\n"
        "\n"
        "+: 1 of 2 probes can be recorded on this kernel. `tracelab probes NAME`\n"
        "tells everything about one."
    )


def test_no_line_is_wider_than_the_terminal() -> None:
    entries = catalogue()
    said = "\n".join([text(entries), *(details(e) for e in entries)])
    assert max(map(len, said.splitlines())) <= 100
    named = [line.split()[1] for line in text(entries).splitlines() if line.startswith(("+ ", "- "))]
    assert named == [e.probe.name for e in entries]
    assert sorted(named) == sorted(all_probes())


def test_details_tell_all_that_the_front_matter_says(naps: Probe) -> None:
    assert details(Entry(naps, "tracepoint cats:nap", ""), 200) == (
        "naps: one event per nap of a cat: where it slept, and for how long it could not be asked anything\n"
        "  records     table events\n"
        "  value       duration, ns, of the nap\n"
        "  ret         0, or what woke it\n"
        "  size_bytes  bytes dreamt of\n"
        "  key         the cat\n"
        "  events      sofa, roof\n"
        "  texts       path, function, with --paths\n"
        "  cost        90 ns a nap (BPF run statistics, on a busy VM with 2 CPUs)\n"
        "  attach      raw_tracepoint nap_begin, raw_tracepoint nap_end; or tracepoint cats:nap\n"
        "  also        raw_tracepoint nap_twitch\n"
        "  needs       Linux 5.8 with cats\n"
        "  here        yes, by tracepoint cats:nap\n"
        "  ask with    --events naps"
    )


def test_details_of_a_sampler_tell_its_kind_and_why_it_is_not_available(naps: Probe) -> None:
    sampler = replace(naps, table="samples", kind="napping", events="", function="")
    said = details(Entry(sampler, "", "no cats")).splitlines()
    assert "  records     table samples, samples of kind napping" in said
    assert "  weight      duration, ns, of the nap" in said
    assert "  here        no: no cats" in said
    assert not any(line.startswith("  events") for line in said)


def test_a_probe_that_there_is_not_is_refused_with_near_names() -> None:
    with pytest.raises(UsageError, match="no probe 'offcpy'; there are: offcpu"):
        catalogue("offcpy")
    assert [e.probe.name for e in catalogue("tcp")] == ["tcp"]
