"""The browser that tests drive."""

from __future__ import annotations

import functools
import shutil
import subprocess

BROWSERS = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")


@functools.cache
def chromium_path() -> str | None:
    """Path of a Chromium that starts, or None; Ubuntu's /usr/bin/chromium-browser may be a stand-in that does not."""
    for path in filter(None, map(shutil.which, BROWSERS)):
        if subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0:
            return path
    return None
