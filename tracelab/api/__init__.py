"""The entry object: a session, or a part of one, with a short verb for every question.

    s = open_session("x.tracelab")
    s.select(comm="python3", time=(2, 3)).latency()

Every verb returns a table, a Profile or a view; nothing is printed or shown by itself. Verbs that return a table say
in `attrs["units"]` what its columns are counted in. Verbs that return a table are in tables.py, those that return a
view in views.py.
"""

from tracelab.api.recordings import Recording, open_session, record
from tracelab.api.session import Session

__all__ = ["Recording", "Session", "open_session", "record"]
