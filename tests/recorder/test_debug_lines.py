"""Functions, inlined ones included, files and lines, beside what binutils' addr2line says of the same addresses."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from c_programs import needs_gcc
from tracelab.recorder import debugfiles
from tracelab.recorder.images import Images
from tracelab.recorder.unwindtables import UnwindTables
from tracelab.recorder.usersymbols import UserSymbols

NOBODY = 2**31 - 2  # no process has this number
SOURCE = r"""
#include <stdlib.h>
#include <string.h>
volatile long sink;
static inline __attribute__((always_inline)) long innermost(long n) { sink += n; return sink * 3; }
static inline __attribute__((always_inline)) long inner(long n)
{
    long sum = innermost(n + 1);
    return sum + innermost(n + 2);
}
__attribute__((noinline)) long twice(long n)
{
    long a = inner(n);
    if (a == 42)
        abort();
    return a + inner(n * 2);
}
__attribute__((noinline)) long looped(const char *text)
{
    long sum = 0;
    for (size_t i = 0; i < strlen(text); i++)
        sum += twice(text[i]);
    return sum;
}
int main(int argc, char **argv) { return looped(argv[argc - 1]) > 100; }
"""
CPLUSPLUS = r"""
#include <algorithm>
#include <map>
#include <string>
#include <vector>
namespace shop {
template <class T> struct Basket {
    std::vector<T> things;
    __attribute__((noinline)) long total(const std::map<T, long> &prices) const
    {
        long sum = 0;
        std::for_each(things.begin(), things.end(), [&](const T &t) { sum += prices.at(t); });
        return sum;
    }
};
}
__attribute__((noinline)) long looped(int n)
{
    shop::Basket<std::string> basket;
    std::map<std::string, long> prices;
    for (int i = 0; i < n; i++) {
        basket.things.push_back(std::to_string(i));
        prices[std::to_string(i)] = i;
    }
    std::sort(basket.things.begin(), basket.things.end());
    return basket.total(prices);
}
int main(int argc, char **) { return looped(argc * 10) > 100; }
"""
RUST = r"""
#[inline(never)]
fn looped(text: &str) -> usize {
    let mut words: Vec<String> = text.split(' ').map(|w| w.to_uppercase()).collect();
    words.sort();
    words.iter().filter(|w| w.len() > 2).map(|w| w.len()).sum()
}
fn main() {
    std::process::exit((looped(&std::env::args().collect::<Vec<_>>().join(" ")) > 100) as i32);
}
"""
HOW = {
    "DWARF 5": ["-gdwarf-5"],
    "DWARF 4": ["-gdwarf-4"],
    "DWARF 4, types apart": ["-gdwarf-4", "-fdebug-types-section"],
    "compressed": ["-g", "-gz=zlib"],
    "optimised for size": ["-g", "-Os"],
    "at a fixed address": ["-g", "-no-pie"],
    "linked as a whole": ["-g", "-flto"],
}
ARTIFICIAL = "<artificial>"  #: what binutils 2.40 calls the first file of a line table that came from LTO
needs_addr2line = pytest.mark.skipif(
    shutil.which("addr2line") is None, reason="addr2line is missing; install binutils"
)
pytestmark = [needs_gcc, needs_addr2line]

Inlined = list[tuple[str, str, int]]  # function, file and line, root first


@pytest.fixture(autouse=True)
def _no_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def built(folder: Path, compiler: str, source: str, suffix: str, *flags: str) -> Path:
    """The program made from a source."""
    (folder / f"program{suffix}").write_text(source)
    argv = [compiler, *flags, "-o", str(folder / "program"), str(folder / f"program{suffix}")]
    subprocess.run(argv, check=True, timeout=120)
    return folder / "program"


def functions(program: Path, *names: str) -> list[int]:
    """Some addresses in functions whose names contain one of `names`, as in the file."""
    found: list[int] = []
    for line in subprocess.run(
        ["nm", "-S", program], capture_output=True, text=True, check=True
    ).stdout.splitlines():
        match = re.fullmatch(r"([0-9a-f]+) ([0-9a-f]+) [tTwW] (\S+)", line)
        if match and any(name in match[3] for name in names) and "." not in match[3]:
            start, size = int(match[1], 16), int(match[2], 16)
            found += range(start, start + size, max(1, size // 150))
    assert len(found) > 50
    return found


def by_addr2line(file: Path, addresses: list[int]) -> list[Inlined]:
    """What binutils says, symbols not demangled."""
    argv = ["addr2line", "-a", "-f", "-i", "-e", str(file), *map(hex, addresses)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found: list[Inlined] = []
    lines = iter(said.splitlines())
    for line in lines:
        if re.fullmatch("0x[0-9a-f]{16}", line):
            found.append([])
            continue
        file_name, _, number = next(lines).rpartition(":")
        digits = number.split(" ")[0]
        found[-1].insert(0, (line, os.path.basename(file_name), int(digits) if digits.isdigit() else 0))
    return found


def by_recorder(program: Path, addresses: list[int]) -> list[Inlined]:
    """What the recorder says."""
    images = Images()
    image = images.find(NOBODY, 0, 4096, str(program))
    assert image is not None and image.elf is not None
    tables = UnwindTables(images)
    tables.slot(image)
    symbols = UserSymbols(images, tables.function_start)
    relative = [a - image.elf.load_address for a in addresses]
    return [
        [(f.symbol, os.path.basename(f.file), f.line) for f in frames]
        for frames in symbols.frames(image, relative)
    ]


def check(
    program: Path, addresses: list[int], described_by: Path | None = None, *, named: bool = True
) -> None:
    """Both say the same; names only if they are not mangled, lines with a slip or two where tables leave a choice."""
    ours, theirs = by_recorder(program, addresses), by_addr2line(described_by or program, addresses)
    assert [len(f) for f in ours] == [len(f) for f in theirs], (
        "the same functions are inlined into each other"
    )
    if named:
        assert [[f[0] for f in frames] for frames in ours] == [[f[0] for f in frames] for frames in theirs]
    pairs = [p for mine, other in zip(ours, theirs, strict=True) for p in zip(mine, other, strict=True)]
    same = sum(o[2] == t[2] and t[1] in (o[1], ARTIFICIAL) for o, t in pairs)
    assert same >= 0.99 * sum(len(frames) for frames in theirs)
    assert max(len(frames) for frames in ours) >= 3, "nothing was inlined"


@pytest.mark.parametrize("flags", HOW.values(), ids=HOW)
def test_c_has_the_functions_files_and_lines_that_addr2line_tells(tmp_path: Path, flags: list[str]) -> None:
    program = built(tmp_path, "gcc", SOURCE, ".c", "-O2", *flags)
    check(program, functions(program, "twice", "looped"))


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is missing; install g++")
def test_cplusplus_has_the_lines_that_addr2line_tells(tmp_path: Path) -> None:
    program = built(tmp_path, "g++", CPLUSPLUS, ".cpp", "-O2", "-g")
    addresses = functions(program, "looped", "total")
    check(program, addresses, named=False)
    names = {name for frames in by_recorder(program, addresses) for name, _, _ in frames}
    assert any(re.fullmatch(r"shop::Basket<.*>::total", name) for name in names)


@pytest.mark.skipif(shutil.which("rustc") is None, reason="rustc is missing; install rust")
def test_rust_has_the_lines_that_addr2line_tells(tmp_path: Path) -> None:
    program = built(tmp_path, "rustc", RUST, ".rs", "-O", "-g")
    addresses = functions(program, "looped")
    check(program, addresses, named=False)
    assert by_recorder(program, addresses)[0][0][0] == "program::looped"


@pytest.mark.parametrize("how", ["build id", "debug link"])
def test_a_debug_file_below_usr_lib_debug_describes_a_stripped_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    flag = "-Wl,--build-id=" + ("sha1" if how == "build id" else "none")
    program = built(tmp_path, "gcc", SOURCE, ".c", "-O2", "-g", flag)
    addresses, whole = functions(program, "twice", "looped"), tmp_path / "whole"
    shutil.copy(program, whole)
    root = tmp_path / "debug"
    monkeypatch.setattr(debugfiles, "DEBUG_ROOT", str(root))
    images = Images()
    image = images.find(NOBODY, 0, 4096, str(program))
    assert image is not None
    if image.build_id:
        text = image.build_id.hex()
        debug = root / ".build-id" / text[:2] / f"{text[2:]}.debug"
    else:
        debug = Path(f"{root}{tmp_path}/program.debug")
    debug.parent.mkdir(parents=True)
    subprocess.run(["objcopy", "--only-keep-debug", "--compress-debug-sections", program, debug], check=True)
    link = [] if image.build_id else [f"--add-gnu-debuglink={debug}"]
    subprocess.run(["objcopy", "--strip-all", *link, program], check=True)
    check(program, addresses, whole)


def test_symbols_that_are_packed_into_a_stripped_program_name_its_functions(tmp_path: Path) -> None:
    program = built(
        tmp_path, "gcc", SOURCE.replace("noinline", 'noinline, visibility("hidden")'), ".c", "-O2", "-g"
    )
    addresses = functions(program, "twice", "looped")
    expected = [frames[0][0] for frames in by_addr2line(program, addresses)]
    mini, packed = tmp_path / "mini", tmp_path / "mini.xz"
    subprocess.run(
        ["objcopy", "-S", "--keep-symbol=twice", "--keep-symbol=looped", program, mini], check=True
    )
    packed.write_bytes(lzma.compress(mini.read_bytes()))
    subprocess.run(["objcopy", "--strip-all", program], check=True)
    assert all(frames[0][0].startswith("[program]+") for frames in by_recorder(program, addresses))
    subprocess.run(["objcopy", f"--add-section=.gnu_debugdata={packed}", program], check=True)
    assert [frames[0][0] for frames in by_recorder(program, addresses)] == expected


def test_a_function_split_in_hot_and_cold_has_its_name_in_both_and_not_that_of_its_neighbour(
    tmp_path: Path,
) -> None:
    source = SOURCE.replace("abort();", "{ sink = 1; abort(); }")
    program = built(tmp_path, "gcc", source, ".c", "-O2", "-g", "-fno-toplevel-reorder")
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    [cold] = [int(line.split()[0], 16) for line in symbols.splitlines() if line.endswith("twice.cold")]
    [hot] = [int(line.split()[0], 16) for line in symbols.splitlines() if line.endswith(" twice")]
    check(program, functions(program, "twice"))
    assert [frames[0][0] for frames in by_recorder(program, [hot, cold])] == ["twice", "twice"]
