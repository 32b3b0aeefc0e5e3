"""How full eBPF maps and ring buffers were."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracelab.analysis.documented import documented
from tracelab.query import kernels
from tracelab.query.tables import Tables

RING = "ringbuf"  #: type of the maps whose capacity is in bytes
_UNITS = {
    "time_s": "s",
    "map_id": "number",
    "name": "name",
    "type": "name",
    "own": "yes or no",
    "used": "column unit",
    "max_entries": "column unit",
    "unit": "name",
    "used_share": "1",
    "estimated": "yes or no",
    "memlock_bytes": "bytes",
}


def map_readings(tables: Tables) -> pd.DataFrame:
    """How full each eBPF map was at each reading, about once a second; in order of map and time.

    Columns: time_s (s since the recording began), map_id, name, type, own (whether it belongs to this recording), used
    and max_entries (its capacity), unit ("entries", or "bytes" of a ring buffer), used_share (0 to 1), estimated
    (whether entries were counted in a part of the map only) and memlock_bytes (memory charged for it). NaN where it
    cannot be told how many entries are in use, as in arrays, which are always whole. A ring buffer is read at one
    moment of a second, and may have been fuller between two readings.

    Raises MissingTable. Source: bpf_map_info, and the kernel's iterators over map elements.
    """
    rows = kernels.rows(tables, "bpf_map_stats").merge(_described(tables), on="map_id", how="left")
    entries = rows["entries"].astype("Float64").to_numpy(np.float64, na_value=np.nan)
    fill = rows["fill_bytes"].astype("Float64").to_numpy(np.float64, na_value=np.nan)
    is_ring = (rows["type"] == RING).to_numpy()
    rows["time_s"] = (rows["time_ns"] - tables.start_ns) / 1e9
    rows["used"] = np.where(is_ring, fill, entries)
    rows["unit"] = np.where(is_ring, "bytes", "entries")
    rows["used_share"] = rows["used"] / rows["max_entries"].where(rows["max_entries"] > 0)
    rows["estimated"] = (rows["entries_exact"] == 0).fillna(False).astype(bool)
    rows = rows.sort_values(["map_id", "time_s"], kind="stable")
    return documented(rows, "fill of eBPF maps", **_UNITS)


def map_peaks(tables: Tables) -> pd.DataFrame:
    """How full each eBPF map was at its fullest, the fullest first; maps whose use cannot be told come last.

    Columns: those of `map_readings`, of the reading with the most used, time_s being when it was; but memlock_bytes is
    the most that it had at any reading. Raises MissingTable.
    """
    readings = map_readings(tables)
    most = readings.sort_values(["used", "time_s"], ascending=[False, True], kind="stable", na_position="last")
    peaks = most.groupby("map_id", sort=False, as_index=False).head(1)
    charged = readings.groupby("map_id")["memlock_bytes"].max()
    peaks = peaks.assign(memlock_bytes=peaks["map_id"].map(charged))
    peaks = peaks.sort_values(["used_share", "map_id"], ascending=[False, True], na_position="last")
    return documented(peaks, "eBPF maps at their fullest", **_UNITS)


def _described(tables: Tables) -> pd.DataFrame:
    names = ["map_id", "name", "type", "own", "max_entries"]
    if not tables.has("bpf_maps"):
        return pd.DataFrame(columns=names).astype({"map_id": "int64", "max_entries": "float64"})
    rows = kernels.rows(tables, "bpf_maps").sort_values("time_ns", kind="stable")
    rows["max_entries"] = rows["max_entries"].astype("Float64").to_numpy(np.float64, na_value=np.nan)
    rows["own"] = rows["own"].fillna(0).astype(bool)
    rows[["name", "type"]] = rows[["name", "type"]].fillna("?")
    return rows[names].groupby("map_id", sort=False, as_index=False).last()
