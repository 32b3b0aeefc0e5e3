"""Records of a ring, as arrays, to rows of tables events and strings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracelab.recorder.addresses import address_texts
from tracelab.recorder.probes import Probe
from tracelab.recorder.ring import Slots
from tracelab.schema import TABLES, arrow_schema

UNKNOWN = np.uint64(0xFFFF_FFFF_FFFF_FFFF)  #: a value that the kernel side could not tell
UNKNOWN_SIGNED = np.int64(-(1 << 63))  #: the same, of a signed member
MANY = 1 << 16  #: more than there are records in a buffer of the drain
Records = npt.NDArray[np.void]


def in_order(slots: Slots) -> Records:
    """The records in slots of a ring, by time: here a row is one piece of memory, and moving it costs least."""
    time_ns = slots["record"]["time_ns"]
    if (time_ns[1:] >= time_ns[:-1]).all():
        return slots["record"]
    words = slots.view(np.uint64).reshape(len(slots), -1)
    order = np.argsort(time_ns.view(np.int64), kind="stable")
    return words.take(order, axis=0).view(slots.dtype).reshape(-1)["record"]


def events_batch(probe: Probe, names: tuple[str, ...], records: Records) -> pa.RecordBatch:
    """Rows of table events, in the order of the records; members that a record lacks become null.

    `names` are those of the probe's events, by number; see eventnames.py.
    """
    n = len(records)
    columns = [
        _integers(records["time_ns"], np.int64),
        _integers(records["cpu"], np.int32),
        _integers(records["pid"], np.int32),
        _integers(records["tid"], np.int32),
        pa.DictionaryArray.from_arrays(_zeros(n), _dictionary((probe.name,)), safe=False),
        _names(probe, names, records),
        _values(records, "value"),
        _values(records, "ret"),
        _nulls(n),
        _weights(records),
        _values(records, "size_bytes"),
        _values(records, "key"),
    ]
    return pa.RecordBatch.from_arrays(columns, names=list(TABLES["events"].column_names))


def texts_batch(probe: Probe, names: tuple[str, ...], records: Records) -> pa.RecordBatch | None:
    """Rows of table strings for the texts in the records, the empty ones left out; None when records carry none.

    A text ends at its first zero byte, and is marked as truncated when that is the last one. Where a record tells
    the length as well, as `NAME_bytes`, zeros inside become blanks, and a length beyond the member marks the text.
    """
    fields: Mapping[str, Any] = records.dtype.fields or {}
    sizes = {name: field[0].itemsize for name, field in fields.items() if field[0].kind == "S"}
    if not sizes:
        return None
    schema = arrow_schema("strings")
    parts = [_texts(probe, names, records, member, size, schema) for member, size in sizes.items()]
    if not any(part.num_rows for part in parts):
        return None
    return pa.Table.from_batches(parts, schema=schema).combine_chunks().to_batches()[0]


def _texts(
    probe: Probe, names: tuple[str, ...], records: Records, member: str, size: int, schema: pa.Schema
) -> pa.RecordBatch:
    raw = records[member].tolist()
    if member in probe.addresses:
        texts = [text.encode() for text in address_texts(records[member])]
        cut = np.zeros(len(texts), np.bool_)
    elif f"{member}_bytes" in (records.dtype.names or ()):
        length = records[f"{member}_bytes"]
        texts = [t[:n].rstrip(b"\0").replace(b"\0", b" ") for t, n in zip(raw, length.tolist(), strict=True)]
        cut = length > size
    else:
        texts = [t.split(b"\0", 1)[0] for t in raw]
        cut = np.array([len(t) >= size - 1 for t in texts], np.bool_)
    some = np.array([bool(t) for t in texts], np.bool_)
    columns = [
        _integers(records["time_ns"], np.int64),
        _integers(records["tid"], np.int32),
        _names(probe, names, records).cast(pa.string()),
        pa.array([t.decode("utf-8", "backslashreplace") for t in texts], pa.string()),
        pa.array(cut.astype(np.int32)),
        pa.array([member] * len(records), pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema).filter(pa.array(some))


def _integers(column: npt.NDArray[np.generic], kind: type[np.signedinteger]) -> pa.Array:
    if column.dtype.itemsize != np.dtype(kind).itemsize:
        return pa.array(column.astype(kind))
    return pa.array(np.ascontiguousarray(column).view(kind))


def _values(records: Records, member: str) -> pa.Array:
    """A member as int64; null where the record has none, or it is unknown."""
    if member not in (records.dtype.names or ()):
        return _nulls(len(records))
    column = np.ascontiguousarray(records[member])
    if column.dtype.itemsize < 8:
        return pa.array(column.astype(np.int64))
    unknown = column == (UNKNOWN if column.dtype == np.uint64 else UNKNOWN_SIGNED)
    return pa.array(column.view(np.int64), mask=unknown if unknown.any() else None)


def _weights(records: Records) -> pa.Array:
    if "weight" not in (records.dtype.names or ()):
        return pa.array(np.ones(len(records), np.int32))
    return _integers(records["weight"], np.int32)


def _names(probe: Probe, names: tuple[str, ...], records: Records) -> pa.DictionaryArray:
    if not probe.events:
        return pa.DictionaryArray.from_arrays(_zeros(len(records)), _dictionary(names), safe=False)
    numbers = np.minimum(records[probe.events.split()[0]], len(names) - 1).astype(np.int16)
    return pa.DictionaryArray.from_arrays(pa.array(numbers), _dictionary(names), safe=False)


def _nulls(n: int) -> pa.Array:
    """Of int64; slices of one array, since many columns are empty, and a part of them waits in memory."""
    return _many_nulls(max(MANY, n)).slice(0, n)


def _zeros(n: int) -> pa.Array:
    return _many_zeros(max(MANY, n)).slice(0, n)


@lru_cache(maxsize=1)
def _many_nulls(n: int) -> pa.Array:
    return pa.nulls(n, pa.int64())


@lru_cache(maxsize=1)
def _many_zeros(n: int) -> pa.Array:
    return pa.array(np.zeros(n, np.int16))


@cache
def _dictionary(names: tuple[str, ...]) -> pa.StringArray:
    return pa.array(names, pa.string())
