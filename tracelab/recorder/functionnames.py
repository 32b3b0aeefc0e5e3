"""Names of the kernel functions that events are about, told once, as a text of the first event of each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from tracelab.recorder.decode import Records
from tracelab.recorder.eventnames import event_names
from tracelab.recorder.probes import Probe
from tracelab.recorder.symbols import KernelSymbols
from tracelab.schema import arrow_schema

FIELD = "function"


class FunctionNames:
    """Remembers what it has told of each probe; `kernel` is asked for when the first name is needed."""

    def __init__(self, kernel: Callable[[], KernelSymbols]) -> None:
        self._kernel = kernel
        self._symbols: KernelSymbols | None = None
        self._told: dict[str, set[int]] = {}

    def texts(self, probe: Probe, member: str, records: Records) -> pa.RecordBatch | None:
        """Rows of table strings, field `function`, of the addresses in `member` that were not told before.

        One row for each, with the time and thread of its first record; None when there are none. Address 0 and all
        ones are no functions.
        """
        told = self._told.setdefault(probe.name, {0, 2**64 - 1})
        addresses, first = np.unique(records[member], return_index=True)
        new = [(int(i), int(a)) for a, i in zip(addresses, first, strict=True) if int(a) not in told]
        if not new:
            return None
        if self._symbols is None:
            self._symbols = self._kernel()
        told.update(address for _, address in new)
        names = event_names(probe)
        numbers = records[probe.events.split()[0]] if probe.events else np.zeros(len(records), np.int64)
        rows = [
            {
                "time_ns": int(records["time_ns"][i]),
                "tid": int(records["tid"][i]),
                "event": names[min(int(numbers[i]), len(names) - 1)],
                "text": self._symbols.frame(int(records["time_ns"][i]), address).symbol,
                "truncated": 0,
                "field": FIELD,
            }
            for i, address in sorted(new)
        ]
        return pa.RecordBatch.from_pylist(rows, schema=arrow_schema("strings"))
