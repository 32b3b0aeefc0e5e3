"""Where notebooks are looked at: JupyterLab, Notebook 7 and Voila, from one server on loopback.

    with served(folder) as host:
        notebook = host.open_lab(page, "views.ipynb")
        notebook.run_all()

The server reads no configuration but that of its own installation and what is written here, keeps everything in
a folder beside that of the notebooks, and takes a free port and a token of its own. Its kernels import this checkout.
At the end it is gone, and its kernels with it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from browser.waiting import until

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60
NEWS = "@jupyterlab/apputils-extension:announcements"  #: asks whether it may look for news
PACKAGES = ("jupyterlab", "notebook", "voila", "ipykernel", "anywidget")


def why_no_hosts() -> str | None:
    """Why notebooks cannot be opened here; None where they can."""
    missing = [name for name in PACKAGES if not importlib.util.find_spec(name)]
    return f"{' and '.join(missing)} missing; pip install 'tracelab-ebpf[notebook,test]'" if missing else None


@dataclass(frozen=True)
class Host:
    """A running server, and the folder whose notebooks it serves."""

    url: str
    token: str
    folder: Path

    def address(self, path: str) -> str:
        """A page of the server, with what lets one in."""
        return f"{self.url}{path}{'&' if '?' in path else '?'}token={self.token}"

    def open_lab(self, page: Any, notebook: str) -> Notebook:
        """A notebook in a fresh workspace of JupyterLab."""
        page.goto(self.address(f"lab/workspaces/{secrets.token_hex(4)}/tree/{notebook}?reset"))
        return _opened(page)

    def open_classic(self, page: Any, notebook: str) -> Notebook:
        """A notebook in Notebook 7."""
        page.goto(self.address(f"notebooks/{notebook}"))
        return _opened(page)

    def open_voila(self, page: Any, notebook: str) -> None:
        """A notebook as Voila runs it: executed from top to bottom, without its code."""
        page.goto(self.address(f"voila/render/{notebook}"))


@dataclass(frozen=True)
class Notebook:
    """A notebook that is open in a page of JupyterLab or Notebook 7, driven through the application's commands."""

    page: Any

    def command(self, name: str, **arguments: Any) -> None:
        """Execute one of the application's commands and wait for its end."""
        self.page.evaluate("([name, args]) => jupyterapp.commands.execute(name, args)", [name, arguments])

    def run_all(self) -> None:
        """Run every cell from top to bottom; returns when the last has run."""
        self.command("notebook:run-all-cells")

    def run(self, source: str) -> str:
        """Put a new cell at the end, run it, and give what it printed."""
        self.page.evaluate(f"{_CELLS}.activeCellIndex = {_CELLS}.widgets.length - 1")
        self.command("notebook:insert-cell-below")
        self.page.evaluate(f"(text) => {_CELLS}.activeCell.model.sharedModel.setSource(text)", source)
        self.command("notebook:run-cell")
        outputs = self.page.evaluate(f"{_CELLS}.activeCell.outputArea.model.toJSON()")
        assert not [o for o in outputs if o["output_type"] == "error"], outputs
        return "".join(text for o in outputs for text in o.get("text", ""))

    def save(self) -> None:
        """Write the notebook to its file."""
        self.command("docmanager:save")


_CELLS = "jupyterapp.shell.currentWidget.content"


def _opened(page: Any) -> Notebook:
    """The open notebook once its cells are there and its kernel, if it has one, answers."""
    until(page, f"globalThis.jupyterapp?.shell?.currentWidget?.context?.isReady && {_CELLS}.widgets.length > 0")
    session = "jupyterapp.shell.currentWidget.sessionContext"
    until(page, f"document.querySelector('.jp-Dialog') || {session}.session?.kernel?.status === 'idle'")
    dismiss_dialogs(page)
    return Notebook(page)


def dismiss_dialogs(page: Any) -> None:
    """Decline whatever the application asks."""
    while page.locator(".jp-Dialog").count():
        page.locator(".jp-Dialog .jp-Dialog-button").first.click()
        page.wait_for_timeout(50)


@contextlib.contextmanager
def served(folder: Path, *, kernels: bool = True) -> Iterator[Host]:
    """A server for the notebooks in `folder`; without `kernels` it has none, as on a machine that only shows them.

    Servers of the same folder trust the same notebooks. What one keeps stands beside the folder.
    """
    token = secrets.token_hex(16)
    home = folder.parent / f"server-{token[:8]}"
    (home / "config/labconfig").mkdir(parents=True)
    (home / "config/jupyter_server_config.json").write_text(json.dumps(_configuration(folder, token, kernels)))
    (home / "config/labconfig/page_config.json").write_text(json.dumps({"disabledExtensions": {NEWS: True}}))
    command = [sys.executable, "-m", "jupyterlab", "--no-browser"]
    with (home / "said").open("wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(home), stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    try:
        yield Host(_url_of(process, home), token, folder)
    finally:
        process.terminate()  # the server ends its kernels
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            left = _processes_of(home)
            assert not left, f"still there after the server's end: {left}"


def _configuration(folder: Path, token: str, kernels: bool) -> dict[str, Any]:
    open_to_tests = {"expose_app_in_browser": True}
    own_kernel = {"ensure_native_kernel": kernels, "allowed_kernelspecs": ["python3" if kernels else "none"]}
    return {
        "ServerApp": {"root_dir": str(folder), "ip": "127.0.0.1", "port": 0, "allow_root": True, "open_browser": False},
        "IdentityProvider": {"token": token},
        "KernelSpecManager": own_kernel,
        "LabApp": open_to_tests,
        "JupyterNotebookApp": open_to_tests,
        "VoilaConfiguration": {"show_tracebacks": True},
    }


def _environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "IPYTHON", "XDG_"))}
    own = {
        "HOME": home,
        "IPYTHONDIR": home / "ipython",
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home.parent / "data",  # what is trusted
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "PYTHONPATH": ROOT,
    }
    return kept | {name: str(path) for name, path in own.items()}


def _url_of(process: subprocess.Popen[bytes], home: Path) -> str:
    """Address of the server once it listens: it writes that down itself."""
    info = home / f"runtime/jpserver-{process.pid}.json"
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None and time.monotonic() < deadline, (home / "said").read_text()
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads(info.read_text())["url"])
        time.sleep(0.05)


def _processes_of(home: Path) -> list[str]:
    """Command lines of processes that name the folder, as those of kernels do."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found += [line] if str(home) in line else []
    return found
