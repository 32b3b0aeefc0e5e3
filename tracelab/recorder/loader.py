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
import struct
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from tracelab.errors import CannotRecord, NeedsBcc, NeedsRoot, ProbeUnavailable
from tracelab.recorder import btf, introspect, tracefs, uprobes
from tracelab.recorder.probes import KernelMember, Probe, bpf_dir
from tracelab.recorder.ring import Ring
from tracelab.recorder.sites import Site

INSTALL_BCC = (
    "install it with `apt-get install python3-bpfcc` (Debian, Ubuntu), `dnf install python3-bcc` (Fedora) "
    "or `pacman -S python-bcc` (Arch); no package on PyPI is it"
)
PROGRAM_TYPES = {
    "raw_tracepoint": "RAW_TRACEPOINT",
    "tracepoint": "TRACEPOINT",
    "kprobe": "KPROBE",
    "kretprobe": "KPROBE",
    "perf_event": "PERF_EVENT",
    "uprobe": "KPROBE",
}  #: BCC's name for each kind of attachment
PERF_EVENTS = {
    "cpu-clock": ("SOFTWARE", "CPU_CLOCK"),
    "cycles": ("HARDWARE", "CPU_CYCLES"),
    "minor-faults": ("SOFTWARE", "PAGE_FAULTS_MIN"),
    "major-faults": ("SOFTWARE", "PAGE_FAULTS_MAJ"),
}
SAMPLERS = ("cpu-clock", "cycles")  #: of the perf events, those that are taken at a rate; of the others, each one
_LOOKUP = 1  #: BPF_MAP_LOOKUP_ELEM
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
    """A compiled and verified probe; `attach` starts it, `close` leaves nothing behind.

    Raises ProbeUnavailable when this kernel lacks what every way to attach it needs, and NeedsRoot.
    """

    def __init__(self, probe: Probe, macros: Mapping[str, object], sites: Sequence[Site] = ()) -> None:
        self.probe = probe
        self.sites = tuple(sites)  #: of a probe in user space, where it is put
        self.messages = ""  #: what BCC and clang had to say
        self.way = available_way(probe)  #: which of the probe's ways to attach is taken
        self._also = [where for where in probe.also if not why_not(*where.split(maxsplit=1))]
        self.macros = {**macros, "WAY": self.way, **kernel_offsets(probe)}
        self._bcc = import_bcc()
        self._bpf = self._compile()
        self._perf_events: list[tuple[int, int]] = []
        self._functions: dict[str, Any] = {}
        self._uprobes = uprobes.Uprobes()
        try:
            self._load_functions()
        except BaseException:
            self._bpf.cleanup()
            raise

    @property
    def is_clocked(self) -> bool:
        """Whether a clock asks for its records, rather than what happens on the machine."""
        return self.probe.attach[self.way][0].startswith("perf_event")

    def map_fd(self, name: str) -> int:
        """Descriptor of one of the probe's maps."""
        return int(self._bpf[name.encode()].map_fd)

    def table(self, name: str) -> Any:
        """BCC's object for one of the probe's maps."""
        return self._bpf[name.encode()]

    def rings(self) -> list[tuple[int, str, Ring]]:
        """Every ring that the probe has, as `(map descriptor, C struct of its records, reader)`."""
        found = []
        names = [(name, struct) for name, struct in self.probe.rings if self._has_map(name)]
        shards = int(str(self.macros.get("SHARDS", 1)))
        names += [(f"ring{n}", dict(self.probe.rings)["ring"]) for n in range(1, shards)]
        for name, layout in names:
            table = self._bpf[name.encode()]
            size_bytes = int(table.max_entries)
            dtype = self.probe.dtype(layout, self.macros)
            found.append((int(table.map_fd), layout, Ring(table.map_fd, size_bytes, dtype)))
        return found

    def counts(self) -> npt.NDArray[np.int64]:
        """The accounts, one reading of all counters of a CPU at once, shape (COUNTERS, CPUs)."""
        table = self._bpf[b"accounts"]
        accounts: npt.NDArray[np.int64] = np.zeros((int(table.total_cpu), len(table.sLeaf._fields_)), np.int64)
        key = np.zeros(1, np.uint32)
        request = struct.pack("<IIQQQ", table.map_fd, 0, key.ctypes.data, accounts.ctypes.data, 0)
        introspect.bpf(_LOOKUP, request)
        return accounts.T

    def attach(self, hz: int) -> None:
        """Start the probe; raises ProbeUnavailable when the kernel refuses."""
        wheres = self.probe.attach[self.way]
        for where in (*wheres, *self._also):
            kind, _, target = where.partition(" ")
            try:
                self._attach_sites() if kind == "uprobe" else self._attach(kind, target, hz)
            except Exception as error:
                if where in self._also:
                    continue
                self.detach()
                raise ProbeUnavailable(
                    f"probe {self.probe.name}: this kernel refuses {where} ({error}); "
                    f"it needs {self.probe.needs}, or leave it out with --events"
                ) from error

    def detach(self) -> None:
        """Stop the probe; its maps and rings stay readable."""
        for kind, config in self._perf_events:
            self._bpf.detach_perf_event(kind, config)
        self._perf_events.clear()
        self._uprobes.close()
        for name in list(self._bpf.raw_tracepoint_fds):
            self._bpf.detach_raw_tracepoint(name)
        for name in list(self._bpf.tracepoint_fds):
            self._bpf.detach_tracepoint(name)
        for name, functions in list(self._bpf.kprobe_fds.items()):
            for function in list(functions):
                self._bpf.detach_kprobe_event_by_fn(name, function)

    def set_one_in(self, n: int) -> None:
        """Have one of n events kept from now on; the probe must have been loaded to sample."""
        table = self._bpf[b"one_in"]
        table[table.Key(0)] = table.Leaf(n)

    def misses(self) -> int:
        """How often the kernel ran none of the programs, because one was under way on that CPU."""
        return sum(introspect.program_stats(fd).misses for fd in self.prog_fds())

    def prog_fds(self) -> list[int]:
        """Descriptors of the probe's programs."""
        return [f.fd for f in self._functions.values()]

    def close(self) -> None:
        """Detach and unload everything."""
        self._uprobes.close()
        self._bpf.cleanup()

    def _has_map(self, name: str) -> bool:
        try:
            self._bpf[name.encode()]
        except KeyError:
            return False
        return True

    def _load_functions(self) -> None:
        """Load what the chosen way attaches; what is attached where it exists is loaded where it can be."""
        for where in self.probe.attach[self.way]:
            self._load(*where.split(maxsplit=1))
        for where in self._also:
            with contextlib.suppress(ProbeUnavailable):
                self._load(*where.split(maxsplit=1))

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

    def _load(self, kind: str, target: str) -> None:
        for function in _functions_of(kind, target, self.sites):
            if function not in self._functions:
                self._load_function(function, kind)

    def _load_function(self, function: str, kind: str) -> None:
        program_type = getattr(self._bcc.BPF, PROGRAM_TYPES[kind])
        with _said_to_stderr() as said:
            try:
                self._functions[function] = self._bpf.load_func(function.encode(), program_type)
                return
            except Exception as error:
                failure = error
        self.messages = said.text
        raise self._refused(failure) from failure

    def _attach_sites(self) -> None:
        for number, site in enumerate(self.sites):
            if site.returns:
                self._uprobes.attach(self._functions["on_return"].fd, site, number, on_return=True)
            self._uprobes.attach(self._functions["on_entry" if site.returns else "on_hit"].fd, site, number)

    def _attach(self, kind: str, target: str, hz: int) -> None:
        function = _functions_of(kind, target, ())[0].encode()
        if kind == "raw_tracepoint":
            self._bpf.attach_raw_tracepoint(target.encode(), function)
        elif kind == "tracepoint":
            tracefs.mount()
            self._bpf.attach_tracepoint(tp=target.encode(), fn_name=function)
        elif kind in ("kprobe", "kretprobe"):
            getattr(self._bpf, f"attach_{kind}")(event=target.encode(), fn_name=function)
        else:
            bcc = self._bcc
            group, name = PERF_EVENTS[target]
            configs = bcc.PerfSWConfig if group == "SOFTWARE" else bcc.PerfHWConfig
            event = (getattr(bcc.PerfType, group), getattr(configs, name))
            period = 1_000_000_000 // hz if target in SAMPLERS else 1
            rate = {"sample_period": period} if group == "SOFTWARE" else {"sample_freq": hz}
            self._bpf.attach_perf_event(*event, fn_name=function, **rate)
            self._perf_events.append(event)

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


def available_way(probe: Probe) -> int:
    """The first of the probe's ways to attach that this kernel has; raises ProbeUnavailable, with what each lacks."""
    lacking = []
    for number, way in enumerate(probe.attach):
        missing = [f"{where}: {reason}" for where in way if (reason := why_not(*where.split(maxsplit=1)))]
        if not missing:
            return number
        lacking.append(" and ".join(missing))
    raise ProbeUnavailable(
        f"probe {probe.name} is not available on this kernel ({'; or '.join(lacking)}); "
        f"it needs {probe.needs}, or leave it out with --events"
    )


def why_not(kind: str, target: str) -> str | None:
    """Why nothing can be attached there on this kernel, as far as can be told without trying; None when it can."""
    if kind == "raw_tracepoint":
        try:
            btf.running().tracepoint(target)
        except btf.NoSuchMember:
            return "no such tracepoint"
        except (OSError, ValueError):
            return None  # no BTF: the attempt will tell
    elif kind == "tracepoint":
        tracefs.mount()
        return None if tracefs.has_tracepoint(target) else "no such tracepoint"
    elif kind in ("kprobe", "kretprobe"):
        if not Path("/sys/bus/event_source/devices/kprobe").is_dir():
            return "this kernel was built without kprobes"
        symbols = Path("/proc/kallsyms").read_text()
        return None if re.search(rf" [tTwW] {re.escape(target)}$", symbols, re.M) else "no such function"
    elif kind == "uprobe":
        return uprobes.why_not()
    elif kind == "perf_event" and PERF_EVENTS.get(target, ("",))[0] == "HARDWARE":
        return None if Path("/sys/bus/event_source/devices/cpu").is_dir() else "no hardware counters (PMU)"
    return None


def kernel_offsets(probe: Probe) -> dict[str, int]:
    """Offsets of the members of kernel structs that the probe reads, by macro.

    Raises ProbeUnavailable when the kernel shows no types, or has no such member.
    """
    found: dict[str, int] = {}
    for member in probe.kernel_members():
        try:
            found[member.macro] = _offset(member)
        except (btf.NoSuchMember, OSError, ValueError) as error:
            if not member.optional:
                reason = error if isinstance(error, btf.NoSuchMember) else f"{btf.VMLINUX}: {error}"
                raise ProbeUnavailable(
                    f"probe {probe.name} is not available on this kernel ({reason}); "
                    f"it needs {probe.needs}, or leave it out with --events"
                ) from error
    return found


def _offset(member: KernelMember) -> int:
    """Of the first of its paths that this kernel has; raises what btf.py raises for the first path."""
    failure: btf.NoSuchMember | None = None
    for path in member.paths:
        try:
            return btf.running().member(path).offset
        except btf.NoSuchMember as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _functions_of(kind: str, target: str, sites: Sequence[Site]) -> list[str]:
    """Names of the C functions for an attachment, as BCC's macros make them."""
    if kind == "uprobe":
        with_return = any(site.returns for site in sites)
        with_hit = any(not site.returns for site in sites)
        return ["on_entry", "on_return"] * with_return + ["on_hit"] * with_hit
    if kind == "perf_event":
        return ["on_sample" if target in SAMPLERS else f"on_{target.replace('-', '_')}"]
    return [f"{kind}__{target.replace(':', '__')}"]


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
