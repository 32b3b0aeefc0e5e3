"""What the manifest says of a recording before it begins: its probes, what it leaves out, and its tables."""

from __future__ import annotations

from collections.abc import Iterable

from tracelab.recorder.loader import LoadedProbe
from tracelab.recorder.pipeline import Stream
from tracelab.recorder.probes import all_probes
from tracelab.session.manifest import Manifest


def describe_probes(manifest: Manifest, loaded: Iterable[LoadedProbe]) -> None:
    """What each probe records, with units, and how to record what the others would."""
    for p, way in ((each.probe, each.way) for each in loaded):
        manifest.probes[p.name] = {
            "doc": p.doc,
            "table": p.table,
            "value": {"meaning": p.value, "unit": p.unit},
            "attach": list(p.attach[way]),
        }
        described = manifest.probes[p.name]
        described |= {key: meaning for key in ("ret", "size", "key", "kind") if (meaning := getattr(p, key))}
    for name, probe in all_probes().items():
        if name not in manifest.probes:
            manifest.not_recorded[name] = f"{probe.doc}: record with --events {name}"


def name_tables(manifest: Manifest, streams: Iterable[Stream], *, bpf: bool, python: bool) -> None:
    """Name every table that is recorded, since one may stay empty: no losses are good news, not missing data."""
    tables = {"tasks", "host", "procs", "losses", "accounts", "marks"}
    for stream in streams:
        tables |= {stream.probe.probe.table} | ({"strings"} if stream.has_texts else set())
    tables |= {"samples"} if python else set()
    tables |= {"stacks", "frames"} if "samples" in tables else set()
    tables |= {"bpf_progs", "bpf_prog_stats", "bpf_maps", "bpf_map_stats", "bpf_links"} if bpf else set()
    manifest.tables = {table: {"rows": 0} for table in sorted(tables)}
