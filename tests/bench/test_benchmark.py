"""The benchmark itself, briefly, on this kernel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tracelab.bench.drain import CALLBACKS
from tracelab.bench.figures import OURS


@pytest.mark.kernel
@pytest.mark.slow
def test_every_call_that_the_workload_made_is_kept_or_lost_by_ours_and_by_bccs_callback(
    tmp_path: Path,
) -> None:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler, without which the number of calls is known only roughly; install gcc")
    trials_file = tmp_path / "bench.json"
    command = [sys.executable, "-m", "tracelab.bench", "--quick", "--json", str(trials_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not run" not in done.stdout
    found = json.loads(trials_file.read_text())
    tracers = {OURS, CALLBACKS[1].name}
    assert found["bursts"].keys() == found["saturated"].keys() == tracers
    trials = [trial for kind in ("bursts", "saturated") for name in tracers for trial in found[kind][name]]
    for trial in [*trials, found["paced"]]:
        outcome = trial["outcome"]
        assert outcome["kept"] > 0
        assert outcome["kept"] + outcome["lost"] == trial["made"]
    printed = [line.split("  ")[0] for line in done.stdout.splitlines()]
    assert tracers < set(printed)
