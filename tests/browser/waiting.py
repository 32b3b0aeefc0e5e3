"""Waiting for a page whose policy forbids eval, which Playwright's own waiting needs."""

from __future__ import annotations

import time
from typing import Any

PATIENCE_S = 30


def until(frame: Any, expression: str) -> None:
    """Returns when a JavaScript expression is true in a page or frame."""
    deadline = time.monotonic() + PATIENCE_S
    while not frame.evaluate(expression):
        assert time.monotonic() < deadline, f"never became true: {expression}"
        frame.wait_for_timeout(20)
