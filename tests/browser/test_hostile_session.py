"""A session whose every name is hostile, through every view: as text, and in a real browser nothing of it runs."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from sessions import session
from tracelab.api.views import ViewVerbs
from tracelab.errors import MissingTable, TracelabError
from views import hostile

LONG = "<b>" + "x" * 10_000
NAMES = [*hostile.STORABLE, LONG]
VERBS = [*sorted(name for name in vars(ViewVerbs) if not name.startswith("_")), "explore", "play"]
PROBES = {
    name: {"table": table, "kind": kind, "value": {"meaning": hostile.SCRIPT, "unit": "ns"}}
    for name, table, kind in (
        ("syscalls", "events", None),
        ("switches", "events", None),
        ("runqueue", "events", None),
        ("oncpu", "samples", "on-CPU"),
        ("offcpu", "samples", "off-CPU"),
    )
}
INJECTED = re.compile(r"<img src=x|<svg onload|<script>document|<b>xxx")


def rows(head: str, *lines: str) -> str:
    return "\n".join([head, *lines])


@pytest.fixture(scope="module")
def owned(tmp_path_factory):
    quoted = [shlex.quote(name.replace("\n", " ").replace("\x00", "")) for name in NAMES]
    count = range(len(NAMES))
    each = list(enumerate(quoted))
    probes = ("syscalls", "switches", "runqueue")
    calls = (f"{1 + i / 2} {100 + i} {probe} {q} {1000 * (i + 1)}" for i, q in each for probe in probes)
    kinds = ("on-CPU", "off-CPU")
    return session(
        tmp_path_factory.mktemp("hostile"),
        manifest={"probes": PROBES, "host": {"hostname": hostile.SCRIPT}},
        events=rows("time_s pid probe event value", *calls),
        samples=rows(
            "time_s pid kind stack_id weight key",
            *(f"{1 + i / 2} {100 + i} {kind} {i} 20000000 1" for i in count for kind in kinds),
        ),
        stacks=rows("stack_id frames", *(f"{i} 0,{i}" for i in count)),
        frames=rows("frame_id symbol module file line", *(f"{i} {q} {q} {q} 3" for i, q in each)),
        tasks=rows("time_s tid pid comm cgroup", *(f"0 {100 + i} {100 + i} {q} {q}" for i, q in each)),
        losses=f"time_s source reason count\n2 {quoted[0]} 'ring full' 4\n2 syscalls 'ring full' 4",
        marks=rows("time_s until_s author text", *(f"{1 + i / 2} - {q} {q}" for i, q in each)),
        bpf_progs=rows(
            "time_s prog_id name owner_comm owner_pids own", *(f"0 {i} {q} {q} 100 0" for i, q in each)
        ),
        bpf_prog_stats=rows(
            "time_s prog_id run_cnt run_time_ns", *(f"{t} {i} {9 * t} {t}000000" for t in (1, 2, 3) for i in count)
        ),
        bpf_maps=rows("time_s map_id name type max_entries own", *(f"0 {i} {q} hash 10 0" for i, q in each)),
        bpf_map_stats=rows("time_s map_id entries entries_exact", *(f"{t} {i} 3 1" for t in (1, 2) for i in count)),
        procs=rows(
            "time_s pid comm user_ns system_ns", *(f"{t} {100 + i} {q} {t} {t}" for t in (1, 2) for i, q in each)
        ),
        host=rows(
            "time_s cpu user_ns system_ns irq_ns idle_ns steal_ns", *(f"{t} 0 {t} {t} {t} {t} 0" for t in (1, 2, 3))
        ),
    )


def made(owned, verb: str):
    try:
        return getattr(owned, verb)(*([owned] if verb.startswith("compare") else []))
    except (MissingTable, TracelabError) as error:
        pytest.skip(f"{verb}: {str(error)[:200]}")


@pytest.mark.parametrize("verb", VERBS)
def test_a_hostile_session_is_shown_as_text(owned, open_page, verb):
    view = made(owned, verb)
    bundle = view._repr_mimebundle_()
    for kind, form in bundle.items():
        if kind == "text/plain":  # which may hold markup, as text
            continue
        text = form if isinstance(form, str) else json.dumps(form)
        bare = re.sub(r"<script type='text/plain' id='data'>.*?</script>", "", text, flags=re.S)
        assert not INJECTED.search(bare), kind
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", bundle["text/plain"])
    html = view.to_html() if hasattr(view, "to_html") else f"<!doctype html>{bundle['text/html']}"
    page = open_page(html, width=1280)
    page.wait_for_timeout(300)
    assert page.title() != "owned"
    assert page.locator("img[src=x], script:not([type])").count() == 0
