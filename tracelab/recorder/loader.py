"""Load a probe with BCC, and hold what it needs while it is attached.

The distribution's `bcc` module is found from any Python of the machine: it is pure Python over libbcc, so
importing it from its own folder is enough. It compiles against the small include tree in `bpf/headers`, never
against headers of some other kernel that happen to be installed, whose offsets would be silently wrong.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from tracelab.errors import CannotRecord, NeedsBcc, NeedsRoot, ProbeUnavailable
from tracelab.recorder.probes import Probe, bpf_dir
from tracelab.recorder.ring import Ring

INSTALL_BCC = (
    "install it with `apt-get install python3-bpfcc` (Debian, Ubuntu), `dnf install python3-bcc` (Fedora) "
    "or `pacman -S python-bcc` (Arch); no package on PyPI is it"
)
COUNTERS = ("kept", "lost", "own", "filtered", "idle")  #: as in bpf/tracelab.h
_HEADERS = "BCC_KERNEL_SOURCE"  #: where BCC looks for the headers of a kernel
_FOLDERS = (
    "/usr/lib/python3/dist-packages",
    "/usr/local/lib/python3/dist-packages",
    *(f"/usr/lib{bits}/python3.{minor}/site-packages" for bits in ("", "64") for minor in range(20, 8, -1)),
)


def import_bcc() -> ModuleType:
    """The distribution's BCC module; raises NeedsBcc when there is none, or one that does not load."""
    loaded = sys.modules.get("bcc")
    if loaded is not None and hasattr(loaded, "BPF"):
        return loaded
    for folder in (*sys.path, *_FOLDERS):
        package = Path(folder) / "bcc"
        if (package / "__init__.py").is_file() and (package / "libbcc.py").is_file():
            return _import_from(package)
    raise NeedsBcc(f"BCC's Python module was not found; {INSTALL_BCC}")


def _import_from(package: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "bcc", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons have remarks on BCC's regular expressions
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules["bcc"]
        raise NeedsBcc(f"BCC in {package} does not load: {error}; {INSTALL_BCC}") from error
    return module


@contextlib.contextmanager
def own_headers() -> Iterator[None]:
    """Have BCC compile against the include tree in `bpf/headers` meanwhile."""
    before = os.environ.get(_HEADERS)
    os.environ[_HEADERS] = str(bpf_dir() / "headers")
    try:
        yield
    finally:
        if before is None:
            del os.environ[_HEADERS]
        else:
            os.environ[_HEADERS] = before


class LoadedProbe:
    """A compiled and verified probe; `attach` starts it, `close` leaves nothing behind."""

    def __init__(self, probe: Probe, macros: Mapping[str, object]) -> None:
        self.probe = probe
        self.macros = dict(macros)
        self.messages = ""  #: what BCC and clang had to say
        self._bcc = import_bcc()
        self._bpf = self._compile()
        self._perf_events: list[tuple[int, int]] = []
        self._functions: dict[str, Any] = {}
        try:
            for function in self._bpf_functions():
                self._load(function)
        except BaseException:
            self._bpf.cleanup()
            raise

    def map_fd(self, name: str) -> int:
        """Descriptor of one of the probe's maps."""
        return int(self._bpf[name.encode()].map_fd)

    def table(self, name: str) -> Any:
        """BCC's object for one of the probe's maps."""
        return self._bpf[name.encode()]

    def ring(self, name: str, struct: str) -> Ring:
        """A reader of ring `name`, whose records are C structs `struct`."""
        table = self._bpf[name.encode()]
        pages = int(table.max_entries)
        return Ring(table.map_fd, pages, self.probe.dtype(struct, self.macros))

    def counts(self) -> npt.NDArray[np.int64]:
        """What became of every event, shape (COUNTERS, CPUs)."""
        table = self._bpf[b"counts"]
        return np.array([list(table[table.Key(i)]) for i in range(len(COUNTERS))], np.int64)

    def attach(self, hz: int) -> None:
        """Start the probe; raises ProbeUnavailable when the kernel lacks what it attaches to."""
        for where in self.probe.attach:
            kind, _, target = where.partition(" ")
            try:
                self._attach(kind, target, hz)
            except Exception as error:
                raise ProbeUnavailable(
                    f"probe {self.probe.name}: this kernel refuses {where} ({error}); "
                    f"it needs {self.probe.needs}, or leave it out with --events"
                ) from error

    def detach(self) -> None:
        """Stop the probe; its maps and rings stay readable."""
        for kind, config in self._perf_events:
            self._bpf.detach_perf_event(kind, config)
        self._perf_events.clear()
        for name in list(self._bpf.raw_tracepoint_fds):
            self._bpf.detach_raw_tracepoint(name)
        for name in list(self._bpf.tracepoint_fds):
            self._bpf.detach_tracepoint(name)

    def prog_fds(self) -> list[int]:
        """Descriptors of the probe's programs."""
        return [f.fd for f in self._functions.values()]

    def close(self) -> None:
        """Detach and unload everything."""
        self._bpf.cleanup()

    def _bpf_functions(self) -> list[str]:
        return [name.decode() for name in self._bpf_function_names()]

    def _bpf_function_names(self) -> Iterator[bytes]:
        lib = self._bcc.lib
        for i in range(lib.bpf_num_functions(self._bpf.module)):
            yield lib.bpf_function_name(self._bpf.module, i)

    def _compile(self) -> Any:
        bcc = self._bcc

        class Unattached(bcc.BPF):  # type: ignore[misc, name-defined]
            """BCC attaches by name prefix as soon as it has compiled; here attaching has its own moment."""

            def _trace_autoload(self) -> None:
                pass

        flags = [f"-DLINUX_VERSION_CODE={_kernel_version_code()}", "-w"]
        flags += [f"-D{name}={value}" for name, value in self.macros.items()]
        with _said_to_stderr() as said, own_headers():
            try:
                return Unattached(text=self.probe.text().encode(), cflags=flags)
            except Exception as error:
                failure = error
        self.messages = said.text
        raise self._refused(failure) from failure

    def _load(self, function: str) -> None:
        kind = self._bcc.BPF.PERF_EVENT
        for prefix, other in (("raw_tracepoint__", "RAW_TRACEPOINT"), ("tracepoint__", "TRACEPOINT")):
            if function.startswith(prefix):
                kind = getattr(self._bcc.BPF, other)
        with _said_to_stderr() as said:
            try:
                self._functions[function] = self._bpf.load_func(function.encode(), kind)
                return
            except Exception as error:
                failure = error
        self.messages = said.text
        raise self._refused(failure) from failure

    def _attach(self, kind: str, target: str, hz: int) -> None:
        function = f"{kind}__{target.replace(':', '__')}"
        if kind == "raw_tracepoint":
            self._bpf.attach_raw_tracepoint(target.encode(), function.encode())
        elif kind == "tracepoint":
            self._bpf.attach_tracepoint(target.encode(), function.encode())
        elif kind == "perf_event" and target == "cpu-clock":
            bcc = self._bcc
            event = (bcc.PerfType.SOFTWARE, bcc.PerfSWConfig.CPU_CLOCK)
            self._bpf.attach_perf_event(
                *event, fn_name=next(iter(self._functions)).encode(), sample_period=1_000_000_000 // hz
            )
            self._perf_events.append(event)
        else:
            raise ValueError(f"no way to attach {kind!r}")

    def _refused(self, error: Exception) -> CannotRecord:
        detail = f"{error}\n{self.messages}"
        if os.geteuid() != 0 and re.search(r"not permitted|EPERM|denied|rlimit|lock", detail, re.I):
            return NeedsRoot()
        last = [line for line in self.messages.splitlines() if line.strip()][-1:] or [str(error)]
        refused = ProbeUnavailable(
            f"probe {self.probe.name}: this kernel or BCC {self._bcc.__version__} refuses it "
            f"({last[0].strip()}); it needs {self.probe.needs}, or leave it out with --events"
        )
        refused.add_note(detail)
        return refused


def _kernel_version_code() -> int:
    major, minor, patch = (int(n) for n in (re.findall(r"\d+", platform.release()) + ["0", "0", "0"])[:3])
    return (major << 16) + (minor << 8) + min(patch, 255)


@dataclass
class _Said:
    text: str = ""


@contextlib.contextmanager
def _said_to_stderr() -> Iterator[_Said]:
    """Keep aside what clang and the verifier write to descriptor 2; the text is there afterwards."""
    said = _Said()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        saved = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            kept.seek(0)
            said.text = kept.read().decode(errors="replace")
