import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c_programs import compiled, needs_gcc
from tracelab.profile import Frame
from tracelab.recorder import elf as elf_module
from tracelab.recorder import symcaches
from tracelab.recorder.demangle import demangle, function_name
from tracelab.recorder.diskcache import DiskCache
from tracelab.recorder.elf import Elf, MemorySource, NotElf, open_regular
from tracelab.recorder.images import Image, Images
from tracelab.recorder.perfmap import PerfMap
from tracelab.recorder.rustnames import demangle_v0
from tracelab.recorder.symbols import KernelSymbols
from tracelab.recorder.unwindtables import UnwindTables
from tracelab.recorder.usersymbols import UserSymbols

NOBODY = 2**31 - 2  # no process has this number


@pytest.fixture(autouse=True)
def _no_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


KALLSYMS = b"""\
0000000000014000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff81000000 T _stext
ffffffff81000100 T do_syscall_64
ffffffff81000300 t ksys_read
ffffffff81000300 t alias_of_ksys_read
ffffffff81000380 d some_data
ffffffff81000400 W vfs_read
ffffffff82000000 T _etext
ffffffffc0201000 t ext4_read\t[ext4]
ffffffffc0300000 t bpf_prog_0123456789abcdef_on_read\t[bpf]
ffffffffc0300400 t bpf_prog_fedcba9876543210_other\t[bpf]
"""
BASE = 0xFFFF_FFFF_8100_0000


@pytest.mark.parametrize(
    ("address", "symbol"),
    [
        (BASE + 0x100, "do_syscall_64"),
        (BASE + 0x2FF, "do_syscall_64"),
        (BASE + 0x300, "ksys_read"),
        (BASE + 0x3FF, "ksys_read"),
        (BASE + 0x400, "vfs_read"),
        (0xFFFF_FFFF_C020_1010, "ext4_read"),
    ],
)
def test_a_kernel_address_has_the_function_that_it_is_in(address, symbol):
    frame = KernelSymbols(KALLSYMS).frame(0, address)
    assert frame == Frame(symbol, "[kernel]", "kernel", offset=address - BASE)


@pytest.mark.parametrize("address", [0, 0x1000, BASE - 1, 0xFFFF_FFFF_FFFF_0000])
def test_an_address_outside_the_kernel_has_no_symbol(address):
    frame = KernelSymbols(KALLSYMS).frame(0, address)
    assert not frame.symbolised
    assert (frame.module, frame.domain) == ("[kernel]", "kernel")


@pytest.mark.parametrize(
    "text",
    [b"", b"\n\n", b"garbage", KALLSYMS.replace(b"f", b"0"), b"0000000000000000 T do_syscall_64\n" * 9],
)
def test_a_kernel_that_hides_its_addresses_has_no_symbols(text):
    kernel = KernelSymbols(text)
    assert not kernel.frame(0, BASE + 0x100).symbolised
    assert BASE + 0x100 not in kernel.constant


def test_programs_that_are_loaded_already_are_in_domain_bpf():
    kernel = KernelSymbols(KALLSYMS)
    assert kernel.frame(5, 0xFFFF_FFFF_C030_0010) == Frame(
        "bpf_prog_0123456789abcdef_on_read", "[bpf]", "bpf", offset=0x10
    )
    assert kernel.frame(5, 0xFFFF_FFFF_C030_0400).symbol == "bpf_prog_fedcba9876543210_other"


def test_a_program_is_found_by_the_time_it_was_loaded():
    kernel = KernelSymbols(KALLSYMS)
    at = 0xFFFF_FFFF_C040_0000
    kernel.bpf_symbol(1000, at, 0x80, "bpf_prog_aaaaaaaaaaaaaaaa_first")
    kernel.bpf_symbol(2000, at, 0x40, "bpf_prog_bbbbbbbbbbbbbbbb_second")
    names = {t: kernel.frame(t, at + 0x20).symbol[-6:].strip("_") for t in (1500, 1999, 2000, 9000)}
    assert names == {1500: "first", 1999: "first", 2000: "second", 9000: "second"}
    assert kernel.frame(500, at + 0x20).symbol.endswith("first"), "late news are better than none"
    assert kernel.frame(9000, at + 0x60).symbol.endswith("first"), "the second is not that long"


def test_a_symbol_that_is_no_program_stays_in_the_kernel():
    kernel = KernelSymbols(KALLSYMS)
    kernel.bpf_symbol(1, 0xFFFF_FFFF_C050_0000, 0x1000, "ftrace_trampoline")
    frame = kernel.frame(2, 0xFFFF_FFFF_C050_0008)
    assert (frame.symbol, frame.domain) == ("ftrace_trampoline", "kernel")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the addresses in /proc/kallsyms")
def test_the_running_kernel_has_symbols():
    kernel = KernelSymbols.running()
    line = next(x for x in Path("/proc/kallsyms").read_text().splitlines() if x.endswith(" do_syscall_64"))
    address = int(line.split()[0], 16)
    assert kernel.frame(0, address + 1).symbol == "do_syscall_64"
    assert address in kernel.constant


@pytest.mark.parametrize(
    ("mangled", "name"),
    [
        ("main", "main"),
        ("_ZN3foo3BarIiE2goEiRSt6vectorIiSaIiEE.isra.0", "foo::Bar<int>::go"),
        ("_ZNKSt8functionIFiiEEclEi", "std::function<int (int)>::operator()"),
        ("_ZZ4mainENKUliE_clEi", "main::{lambda(int)#1}::operator()"),
        ("_ZN12_GLOBAL__N_13fooEv", "(anonymous namespace)::foo"),
        ("_Z3fooIiET_S0_", "foo<int>"),
        ("_ZN1XltIiEEbT_", "X::operator< <int>"),
        ("_ZN1AcvbEv", "A::operator bool"),
        ("_ZN3FooD1Ev.cold", "Foo::~Foo"),
        ("_ZTV3Foo", "vtable for Foo"),
        ("_ZThn16_N3Foo3barEv", "non-virtual thunk to Foo::bar()"),
        ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
        (
            "_ZN60_$LT$alloc..string..String$u20$as$u20$core..fmt..Display$GT$3fmt17h0123456789abcdefE",
            "<alloc::string::String as core::fmt::Display>::fmt",
        ),
        ("_RNvCskwGfYPst2Cb_3foo16example_function", "foo::example_function"),
        ("_RNCNvCs1_4main4main0B3_", "main::main::{closure}"),
        (
            "_RINvNtCsl7rYQqrSmLk_4core3ptr13drop_in_placeINtNtCs1_5alloc3vec3VecjEECs2_4main",
            "core::ptr::drop_in_place<alloc::vec::Vec<usize>>",
        ),
        ("_RNvXs5_NtCs1_4core3fmteNtB5_7Display3fmtCs1_4main", "<str as core::fmt::Display>::fmt"),
        ("_Znonsense", "_Znonsense"),
        ("_Rnonsense", "_Rnonsense"),
        ("_RB_", "_RB_"),
    ],
)
def test_names_are_as_a_programmer_wrote_them(mangled, name):
    assert demangle(mangled) == name


def test_a_name_that_would_expand_without_measure_stays_as_it_is():
    doubling = "_Z1fI" + "St4pairI1aS_E" + "".join(f"St4pairIS{n:X}_S{n:X}_E" for n in range(1, 60)) + "Evv"
    assert demangle(doubling) == doubling
    assert demangle("_Z" + "N1a" * 5000) == "_Z" + "N1a" * 5000


@given(st.text("_ZNKSt3fooIiEvRC0123456789abB.$<>() ,*&", max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_name_is_too_odd(text):
    assert demangle("_Z" + text)
    demangle_v0("_R" + text)
    function_name(text)


INLINED = """
#include <stdio.h>
volatile long sink;
static inline __attribute__((always_inline)) void innermost(int n) { sink += n;
    sink *= 7; }
static inline __attribute__((always_inline)) void inner(int n) { sink++;
    innermost(n); }
__attribute__((noinline)) void outer(int n) {
    inner(n);
}
int main(int argc, char **argv) { outer(argc); return 0; }
"""


def image_of(program: Path) -> tuple[Images, Image]:
    images = Images()
    return images, images.find(NOBODY, 0x1000, 0x2000, str(program))


def addresses_of(program: Path, function: str) -> range:
    listing = subprocess.run(["nm", "-S", program], capture_output=True, text=True, check=True).stdout
    line = next(x.split() for x in listing.splitlines() if x.endswith(f" {function}"))
    base = Elf(open_regular(str(program))).load_address
    return range(int(line[0], 16) - base, int(line[0], 16) - base + int(line[1], 16))


@needs_gcc
def test_inlined_functions_are_frames_of_their_own_with_file_and_line(tmp_path):
    program = compiled(tmp_path, INLINED, "-O2", "-g")
    images, image = image_of(program)
    stacks = UserSymbols(images).frames(image, list(addresses_of(program, "outer")))
    deepest = max(stacks, key=len)
    assert [(f.symbol, f.inlined) for f in deepest] == [
        ("outer", False),
        ("inner", True),
        ("innermost", True),
    ]
    lines = [INLINED.splitlines()[f.line - 1].strip() for f in deepest]
    assert lines[:2] == ["inner(n);", "innermost(n); }"]
    assert lines[2] in (
        "sink *= 7; }",
        "static inline __attribute__((always_inline)) void innermost(int n) { sink += n;",
    )
    assert {f.file for f in deepest} == {str(program) + ".c"}
    assert {f.build_id for f in deepest} == {image.build_id.hex()}
    assert all(f.module == str(program) and f.domain == "user" for s in stacks for f in s)


TWO = """
#include <stdio.h>
volatile long sink;
static __attribute__((noinline)) void hidden(int n) { for (int i = 0; i < n; i++) sink += i; }
__attribute__((noinline)) void shown(int n) { hidden(n); sink++; }
int main(int argc, char **argv) { shown(argc); return 0; }
"""


@needs_gcc
def test_a_function_without_a_name_is_called_after_its_beginning(tmp_path):
    program = compiled(tmp_path, TWO, "-O2", "-rdynamic", "-ffunction-sections")
    hidden, shown = addresses_of(program, "hidden"), addresses_of(program, "shown")
    subprocess.run(["strip", program], check=True)
    images, image = image_of(program)
    tables = UnwindTables(images)
    tables.slot(image)
    symbols = UserSymbols(images, tables.function_start)
    of_hidden = [frames[0] for frames in symbols.frames(image, [hidden[0], hidden[-1]])]
    assert {f.symbol for f in of_hidden} == {f"[program]+{hidden.start:#x}"}
    assert not of_hidden[0].symbolised
    assert [f.offset for f in of_hidden] == [hidden[0], hidden[-1]]
    assert symbols.frames(image, [shown[3]])[0][0].symbol == "shown", "the dynamic linker's table has it"


@needs_gcc
@pytest.mark.parametrize("build_id", ["-Wl,--build-id=sha1", "-Wl,--build-id=none"])
def test_a_separate_debug_file_is_found_beside_the_program(tmp_path, build_id):
    program = compiled(tmp_path, TWO, "-O2", "-g", build_id)
    hidden = addresses_of(program, "hidden")
    (tmp_path / ".debug").mkdir()
    debug = tmp_path / ".debug" / "program.debug"
    subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
    subprocess.run(["objcopy", "--strip-all", f"--add-gnu-debuglink={debug}", program], check=True)
    [frames] = UserSymbols(*image_of(program)[:1]).frames(image_of(program)[1], [hidden[0]])
    images, image = image_of(program)
    [frames] = UserSymbols(images).frames(image, [hidden[0]])
    assert (frames[0].symbol, frames[0].file) == ("hidden", str(program) + ".c")
    with debug.open("r+b") as other:  # now it is not the one that belongs to the program
        raw = other.read()
        at = raw.find(image.build_id) if image.build_id else len(raw) - 1
        other.seek(at)
        other.write(bytes([raw[at] ^ 1]))
    images, image = image_of(program)
    [frames] = UserSymbols(images).frames(image, [hidden[0]])
    assert not frames[0].symbolised


@needs_gcc
def test_of_the_names_of_a_function_the_plainest_is_taken(tmp_path):
    source = """
    __attribute__((noinline)) int __libc_work(int n) { return n * 3; }
    static int __GI_work(int) __attribute__((alias("__libc_work"), used));
    int __work(int) __attribute__((alias("__libc_work")));
    int work(int) __attribute__((weak, alias("__libc_work")));
    int main(int argc, char **argv) { return work(argc); }
    """
    program = compiled(tmp_path, source, "-O1")
    images, image = image_of(program)
    assert UserSymbols(images).frames(image, [addresses_of(program, "work")[0]])[0][0].symbol == "work"


@needs_gcc
def test_a_table_of_symbols_is_kept_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(symcaches, "WORTH_KEEPING", 1)
    program = compiled(tmp_path, TWO, "-O2", "-g")
    cache = DiskCache(tmp_path / "kept" / "symbols")
    address = addresses_of(program, "hidden")[0]
    images, image = image_of(program)
    fresh = UserSymbols(images, cache=cache).frames(image, [address])
    monkeypatch.setattr(symcaches, "make_symcache", None)  # it must not be needed
    assert UserSymbols(images, cache=cache).frames(image, [address]) == fresh
    assert fresh[0][0].symbol == "hidden"


@needs_gcc
def test_a_child_makes_a_large_table_and_this_process_maps_it(tmp_path, monkeypatch):
    monkeypatch.setattr(symcaches, "LARGE_BYTES", 1)
    monkeypatch.setattr(symcaches, "make_symcache", None)  # it must not be needed here
    program = compiled(tmp_path, TWO, "-O2", "-g")
    images, image = image_of(program)
    symbols = UserSymbols(images, cache=DiskCache(tmp_path / "kept" / "symbols"))
    [frames] = symbols.frames(image, [addresses_of(program, "hidden")[0]])
    assert (frames[0].symbol, frames[0].file) == ("hidden", f"{program}.c")
    assert str(tmp_path / "kept" / "symbols") in Path("/proc/self/maps").read_text()
    assert symbols.child_cpu_s > 0


def by_a_child(tmp_path, monkeypatch, script):
    """Symbols whose tables a shell script is to make, an image with them, and an address in its function hidden."""
    child = tmp_path / "child"
    child.write_text(f"#!/bin/sh\n{script}\n")
    child.chmod(0o755)
    monkeypatch.setattr(symcaches, "LARGE_BYTES", 1)
    monkeypatch.setattr(sys, "executable", str(child))
    program = compiled(tmp_path, TWO, "-O2", "-g")
    images, image = image_of(program)
    symbols = UserSymbols(images, cache=DiskCache(tmp_path / "kept" / "symbols"))
    return symbols, image, addresses_of(program, "hidden")[0]


@needs_gcc
def test_a_child_that_crashes_leaves_code_without_names(tmp_path, monkeypatch):
    symbols, image, address = by_a_child(tmp_path, monkeypatch, "kill -SEGV $$")
    [frames] = symbols.frames(image, [address])
    assert not frames[0].symbolised


@needs_gcc
def test_what_no_child_can_make_is_made_here(tmp_path, monkeypatch):
    symbols, image, address = by_a_child(tmp_path, monkeypatch, "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-such-program"))
    [frames] = symbols.frames(image, [address])
    assert frames[0].symbol == "hidden"


@needs_gcc
def test_a_child_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    symbols, image, address = by_a_child(tmp_path, monkeypatch, "exec sleep 60")
    hurry = threading.Timer(0.3, lambda: symbols.hurry(time.monotonic()))
    hurry.start()
    [frames] = symbols.frames(image, [address])
    assert not frames[0].symbolised
    assert symbols.skipped == {"program"}


@needs_gcc
def test_too_much_debug_information_is_left_out_and_the_functions_stay(tmp_path, monkeypatch):
    program = compiled(tmp_path, TWO, "-O2", "-g")
    address = addresses_of(program, "hidden")[0]
    monkeypatch.setattr(elf_module, "MAX_DEBUG_BYTES", 100)
    images, image = image_of(program)
    [frames] = UserSymbols(images).frames(image, [address])
    assert (frames[0].symbol, frames[0].file, frames[0].line) == ("hidden", "", 0)


@needs_gcc
def test_a_section_that_claims_to_unpack_to_more_than_it_can_is_not_unpacked(tmp_path):
    program = compiled(tmp_path, TWO, "-O2", "-g", "-gz=zlib")
    elf = Elf(open_regular(str(program)))
    section = elf.section(".debug_info")
    assert section.flags & elf_module.SHF_COMPRESSED
    raw = bytearray(program.read_bytes())
    raw[section.offset + 8 : section.offset + 16] = (1 << 40).to_bytes(8, "little")
    small = Elf(MemorySource(bytes(raw))).symbols_only()
    assert Elf(MemorySource(small)).section(".debug_info").kind == elf_module.SHT_NOBITS
    assert Elf(MemorySource(elf.symbols_only())).section(".debug_info").kind != elf_module.SHT_NOBITS


@needs_gcc
def test_forged_files_give_frames_without_names_and_never_an_error(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forged")
    whole = compiled(folder, TWO, "-O2", "-g").read_bytes()
    cache = DiskCache(folder / "cache" / "symbols")

    @given(st.data())
    @settings(max_examples=60, deadline=None, database=None)
    def check(data):
        raw = bytearray(whole[: data.draw(st.sampled_from([len(whole), len(whole) // 2, 300]))])
        for _ in range(data.draw(st.integers(1, 30))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        images, image = Images(), Image(1, "/forged")
        try:
            image.elf = Elf(MemorySource(bytes(raw)))
        except NotElf:
            return
        addresses = [0, 0x1150, 1 << 40, (1 << 64) - 1]
        frames = UserSymbols(images, cache=cache).frames(image, addresses)
        assert [len(f) >= 1 for f in frames] == [True] * 4

    check()


@pytest.fixture
def perf_map():
    path = Path(f"/tmp/perf-{os.getpid()}.map")
    assert not os.path.lexists(path)
    yield path
    path.unlink(missing_ok=True)


def jit_image() -> Image:
    return Images().jit(os.getpid())


def test_code_made_at_run_time_has_the_names_that_its_process_lists(perf_map):
    perf_map.write_text(
        "7f0000001000 40 LazyCompile:*work /app/x.js:1\nnonsense\n7f0000001040 20 stub\n7f00000020"
    )
    symbols, image = UserSymbols(Images()), jit_image()
    names = [f[0].symbol for f in symbols.frames(image, [0x7F0000001000, 0x7F000000103F, 0x7F0000001040])]
    assert names == ["LazyCompile:*work /app/x.js:1"] * 2 + ["stub"]
    assert symbols.frames(image, [0x7F0000001060])[0][0] == Frame(
        "[jit]+0x7f0000001060", "[jit]", offset=0x7F0000001060
    )


def test_a_list_that_grows_is_read_on_and_the_newest_name_holds(perf_map):
    perf_map.write_text("1000 40 old\n20")
    symbols, image = UserSymbols(Images()), jit_image()
    assert symbols.frames(image, [0x1000, 0x2000])[1][0].symbol == "[jit]+0x2000"
    with perf_map.open("a") as more:
        more.write("00 10 later\n1000 40 new\n")
    assert symbols.learned(image)
    assert [f[0].symbol for f in symbols.frames(image, [0x1000, 0x2000])] == ["new", "later"]
    assert not symbols.learned(image)


def test_functions_that_python_lists_are_in_domain_python(perf_map):
    perf_map.write_text("1000 40 py::Shop.sell:/srv/shop.py\n")
    [frames] = UserSymbols(Images()).frames(jit_image(), [0x1000])
    assert frames == (Frame("Shop.sell", "[jit]", "python", file="/srv/shop.py", offset=0x1000),)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_list_that_is_no_file_is_left_alone(perf_map, make):
    make(perf_map)
    try:
        assert PerfMap(os.getpid()).refresh() is False
    finally:
        shutil.rmtree(perf_map) if perf_map.is_dir() else None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_list_by_somebody_else_is_not_believed(perf_map):
    perf_map.write_text("1000 40 forged\n")
    os.chown(perf_map, 12345, -1)
    assert PerfMap(os.getpid()).refresh() is False
