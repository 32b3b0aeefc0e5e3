"""From a session and a selection to small tables: the only place that asks the engine.

    selection   what part of a session is meant: the one object that links every view
    tables      the tables of a session as lazy frames, narrowed to a selection; DuckDB is in there
    lives       what every thread was called, and when
    kernels     about a dozen narrow questions, each ending in `finalise`

Queries are written once, in Narwhals, so that another engine can answer them. Arrow goes in, pandas comes out.
"""

from tracelab.query.selection import Selection

__all__ = ["Selection"]
