"""tracelab shows what an eBPF tracer costs, and why.

    import tracelab as tl

    s = tl.open("x.tracelab")       # a recorded session; or: with tl.record("x.tracelab") as rec: ...
    s.event_rate(), s.flamegraph(), s.diagnose()

Importing it is quick and loads nothing heavy: each name is looked up when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tracelab.api import Session, record
    from tracelab.api import open_session as open
    from tracelab.magics import load_ipython_extension
    from tracelab.profile import Frame, Profile
    from tracelab.query import Selection

__all__ = ["Frame", "Profile", "Selection", "Session", "load_ipython_extension", "open", "record"]

_HOMES = {
    "Frame": ("tracelab.profile", "Frame"),
    "Profile": ("tracelab.profile", "Profile"),
    "Selection": ("tracelab.query", "Selection"),
    "Session": ("tracelab.api", "Session"),
    "load_ipython_extension": ("tracelab.magics", "load_ipython_extension"),
    "open": ("tracelab.api", "open_session"),
    "record": ("tracelab.api", "record"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tracelab' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
