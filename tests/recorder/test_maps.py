import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tracelab.recorder import maps
from tracelab.recorder.images import JIT, VDSO, Images
from tracelab.recorder.maps import AddressSpaces

SHELL, CHILD = 2**31 - 2, 2**31 - 3  # no processes have these numbers
S = 1_000_000_000
TEXT = 0x5000_0000


def found(spaces: AddressSpaces, pid: int, time_ns: int, address: int) -> tuple[str, int] | None:
    """Module and relative address of one address."""
    view = spaces.view(np.array([pid], np.uint32), np.array([time_ns], np.uint64))
    mapping = int(view.find(view.space, np.array([address], np.uint64))[0])
    if mapping < 0:
        return None
    return view.mappings[mapping].image.module, address - view.mappings[mapping].base


def test_an_address_is_relative_to_where_offset_0_of_the_file_would_be():
    spaces = AddressSpaces()
    spaces.mmap(1 * S, SHELL, TEXT, 0x4000, 0x1000, "/gone/sh")
    assert found(spaces, SHELL, 2 * S, TEXT + 0x234) == ("/gone/sh", 0x1234)
    assert found(spaces, SHELL, 2 * S, TEXT - 1) is None
    assert found(spaces, SHELL, 2 * S, TEXT + 0x4000) is None


def test_what_is_asked_about_a_process_never_heard_of_is_unknown():
    view = AddressSpaces().view(np.array([SHELL], np.uint32), np.array([S], np.uint64))
    assert not view.known[0]
    assert view.find(view.space, np.array([TEXT], np.uint64)).tolist() == [-1]


def test_addresses_outside_user_space_are_nowhere():
    spaces = AddressSpaces()
    spaces.mmap(1 * S, SHELL, TEXT, 0x4000, 0, "/gone/sh")
    spaces.mmap(1 * S, CHILD, TEXT, 0x4000, 0, "/gone/sh")
    assert found(spaces, SHELL, 2 * S, 0xFFFF_FFFF_8100_0000) is None
    assert found(spaces, SHELL, 2 * S, TEXT | 1 << 47) is None


def test_a_child_has_what_its_parent_had_when_it_forked():
    spaces = AddressSpaces()
    spaces.mmap(1 * S, SHELL, TEXT, 0x1000, 0, "/gone/sh")
    spaces.fork(2 * S, CHILD, SHELL)
    spaces.mmap(3 * S, SHELL, TEXT + 0x1000, 0x1000, 0, "/gone/later")
    assert found(spaces, CHILD, 4 * S, TEXT) == ("/gone/sh", 0)
    assert found(spaces, CHILD, 4 * S, TEXT + 0x1000) is None


def test_an_exec_ends_the_old_mappings_for_samples_after_it_alone():
    spaces = AddressSpaces()
    spaces.mmap(1 * S, SHELL, TEXT, 0x1000, 0, "/gone/sh")
    spaces.fork(2 * S, CHILD, SHELL)
    spaces.exec(3 * S, CHILD)
    spaces.mmap(3 * S + 1, CHILD, TEXT + 0x8000, 0x1000, 0, "/gone/ls")
    assert found(spaces, CHILD, 2 * S + 5, TEXT) == ("/gone/sh", 0)
    assert found(spaces, CHILD, 4 * S, TEXT) is None
    assert found(spaces, CHILD, 4 * S, TEXT + 0x8000) == ("/gone/ls", 0)


def test_a_mapping_that_was_heard_of_before_its_exec_belongs_to_the_new_program():
    spaces = AddressSpaces()
    spaces.mmap(1 * S, SHELL, TEXT, 0x1000, 0, "/gone/sh")
    spaces.mmap(3 * S + 1, SHELL, TEXT + 0x8000, 0x1000, 0, "/gone/ls")
    spaces.exec(3 * S, SHELL)
    assert found(spaces, SHELL, 4 * S, TEXT + 0x8000) == ("/gone/ls", 0)
    assert found(spaces, SHELL, 4 * S, TEXT) is None
    assert found(spaces, SHELL, 2 * S, TEXT) == ("/gone/sh", 0)


def test_a_fork_that_is_heard_of_late_still_hands_down_the_mappings():
    spaces = AddressSpaces()
    spaces.mmap(1 * S, SHELL, TEXT, 0x1000, 0, "/gone/sh")
    spaces.mmap(2 * S + 1, CHILD, TEXT + 0x8000, 0x1000, 0, "/gone/plugin")
    spaces.fork(2 * S, CHILD, SHELL)
    assert found(spaces, CHILD, 3 * S, TEXT) == ("/gone/sh", 0)
    assert found(spaces, CHILD, 3 * S, TEXT + 0x8000) == ("/gone/plugin", 0)


def test_a_process_number_that_is_used_again_is_another_process():
    spaces = AddressSpaces()
    spaces.mmap(1 * S, CHILD, TEXT, 0x1000, 0, "/gone/old")
    spaces.exit(2 * S, CHILD)
    spaces.mmap(1 * S, SHELL, TEXT, 0x1000, 0, "/gone/sh")
    spaces.fork(3 * S, CHILD, SHELL)
    assert found(spaces, CHILD, 1 * S + 1, TEXT) == ("/gone/old", 0)
    assert found(spaces, CHILD, 4 * S, TEXT) == ("/gone/sh", 0)


def test_memory_that_is_mapped_anew_resolves_by_the_time_of_the_sample():
    spaces = AddressSpaces()
    spaces.mmap(1 * S, SHELL, TEXT, 0x3000, 0, "/gone/old")
    spaces.mmap(2 * S, SHELL, TEXT + 0x1000, 0x1000, 0, "/gone/new")
    before = [found(spaces, SHELL, 1 * S + 1, TEXT + at) for at in (0, 0x1000, 0x2000)]
    after = [found(spaces, SHELL, 2 * S + 1, TEXT + at) for at in (0, 0x1000, 0x2000)]
    assert before == [("/gone/old", 0), ("/gone/old", 0x1000), ("/gone/old", 0x2000)]
    assert after == [("/gone/old", 0), ("/gone/new", 0), ("/gone/old", 0x2000)]


def test_the_same_mapping_told_twice_is_one():
    spaces = AddressSpaces()
    for t in (1, 2, 3):
        spaces.mmap(t * S, SHELL, TEXT, 0x1000, 0, "/gone/sh")
    view = spaces.view(np.array([SHELL], np.uint32), np.array([S], np.uint64))
    assert [(m.start, m.end) for m in view.mappings] == [(TEXT, TEXT + 0x1000)]


def test_an_ended_process_is_known_for_a_while_and_then_forgotten():
    spaces = AddressSpaces()
    spaces.mmap(1 * S, CHILD, TEXT, 0x1000, 0, "/gone/ls")
    spaces.exit(2 * S, CHILD)
    assert found(spaces, CHILD, 1 * S, TEXT) == ("/gone/ls", 0)
    found(spaces, SHELL, 2 * S + maps.KEEP_NS + 1, TEXT)  # samples have come that far
    spaces.exit(2 * S + maps.KEEP_NS + 1, SHELL)
    assert found(spaces, CHILD, 1 * S, TEXT) is None


def test_ended_processes_do_not_pile_up_while_their_samples_are_late():
    spaces = AddressSpaces()
    for n in range(2000):
        spaces.fork(n * S, 2**30 + n, SHELL)
        spaces.exec(n * S + 1, 2**30 + n)
        spaces.exit(n * S + 2, 2**30 + n)
    assert len(spaces._lives) <= (maps.LATEST_NS + maps.KEEP_NS) // S + 1


def test_anonymous_executable_memory_is_code_that_its_process_made():
    spaces = AddressSpaces()
    for path in ("//anon", "", "[anon:JS JIT code]", "/memfd:doublemapper (deleted)"):
        spaces.mmap(1 * S, SHELL, TEXT, 0x1000, 0, path)
        assert found(spaces, SHELL, 2 * S, TEXT + 8) == (JIT, TEXT + 8), path
    view = spaces.view(np.array([SHELL], np.uint32), np.array([2 * S], np.uint64))
    assert {m.image.pid for m in view.mappings} == {SHELL}


def test_the_vdso_is_read_from_memory():
    spaces = AddressSpaces()
    spaces.mmap(1 * S, SHELL, TEXT, 0x2000, 0, VDSO)
    view = spaces.view(np.array([SHELL], np.uint32), np.array([2 * S], np.uint64))
    [mapping] = view.mappings
    assert (mapping.image.module, mapping.base) == (VDSO, TEXT)
    assert mapping.image.elf is not None and mapping.image.elf.section(".eh_frame") is not None


def test_a_running_process_is_read_from_proc():
    libc = ctypes.CDLL(None)
    address = ctypes.cast(libc.getpid, ctypes.c_void_p).value
    spaces = AddressSpaces()
    spaces.first_sight(os.getpid())
    where = found(spaces, os.getpid(), 2**62, address)
    assert where is not None
    assert where[0] in Path("/proc/self/maps").read_text()
    assert 0 < where[1] < os.path.getsize(where[0])


def test_two_processes_that_map_a_file_share_its_image():
    spaces = AddressSpaces()
    with subprocess.Popen(["sleep", "60"]) as one, subprocess.Popen(["sleep", "60"]) as other:
        try:
            view = spaces.view(np.array([one.pid, other.pid], np.uint32), np.array([2**62] * 2, np.uint64))
        finally:
            one.kill()
            other.kill()
    sleeps = [m.image for m in view.mappings if m.image.module.endswith("/sleep")]
    assert len(sleeps) >= 2 and len(set(sleeps)) == 1


def test_a_process_that_is_gone_does_no_harm():
    spaces = AddressSpaces()
    spaces.first_sight(SHELL)
    spaces.refresh(SHELL)
    spaces.exec(1 * S, SHELL)
    spaces.exit(2 * S, SHELL)
    assert found(spaces, SHELL, 1 * S, TEXT) is None


def test_a_stack_that_proved_long_is_expected_of_all_that_execute_the_same_program():
    spaces = AddressSpaces()
    for pid, program in ((10, "/gone/cc"), (11, "/gone/cc"), (12, "/gone/ls")):
        spaces.fork(1 * S, pid, SHELL)
        spaces.exec(2 * S, pid)
        spaces.mmap(2 * S + 1, pid, TEXT, 0x1000, 0, program)
    spaces.exit(3 * S, 11)
    spaces.deepen(11)
    assert spaces.deep_pids == {10}, "what has ended needs nothing"
    spaces.exec(4 * S, 12)
    spaces.mmap(4 * S + 1, 12, TEXT, 0x1000, 0, "/gone/cc")
    spaces.mmap(4 * S + 2, 12, TEXT + 0x8000, 0x1000, 0, "/gone/libc")
    spaces.fork(5 * S, 13, 12)
    assert spaces.deep_pids == {10, 12, 13}
    spaces.exec(6 * S, 13)
    spaces.mmap(6 * S + 1, 13, TEXT, 0x1000, 0, "/gone/ls")
    spaces.exit(7 * S, 10)
    assert spaces.deep_pids == {12}


@pytest.mark.parametrize("known", [False, True])
def test_a_file_that_was_held_is_found_when_it_is_gone_and_one_of_known_code_need_not_be(tmp_path, known):
    program = tmp_path / "program"
    shutil.copy(shutil.which("sleep"), program)
    images = Images()
    if known:
        images.find(SHELL, TEXT, TEXT + 0x1000, str(tmp_path / "program"))
        build_id = images.find(SHELL, TEXT, TEXT + 0x1000, str(program)).build_id
        found = images.find(SHELL, TEXT, TEXT + 0x1000, str(tmp_path / "deleted copy"), build_id)
    else:
        images.hold(SHELL, TEXT, TEXT + 0x1000, str(program))
        program.unlink()
        found = images.find(SHELL, TEXT, TEXT + 0x1000, str(program))
    assert found.elf is not None
    assert images.source(found).read(0, 4) == b"\x7fELF"


def test_no_more_files_are_held_than_are_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr("tracelab.recorder.images.MAX_HELD", 2)
    program, images = shutil.copy(shutil.which("sleep"), tmp_path / "program"), Images()
    before = len(os.listdir("/proc/self/fd"))
    for n in range(10):
        images.hold(SHELL, TEXT + n * 0x1000, TEXT + (n + 1) * 0x1000, str(program))
    assert len(os.listdir("/proc/self/fd")) == before + 2
    images.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may open /proc/PID/map_files")
def test_a_deleted_program_is_opened_through_the_process_that_runs_it(tmp_path):
    program = tmp_path / "sleep"
    shutil.copy(shutil.which("sleep"), program)
    spaces = AddressSpaces()
    with subprocess.Popen([str(program), "60"]) as process:
        try:
            program.unlink()
            view = spaces.view(np.array([process.pid], np.uint32), np.array([2**62], np.uint64))
        finally:
            process.kill()
    [image] = {m.image for m in view.mappings if m.image.module == str(program)}
    assert image.elf is not None
    assert spaces.images.source(image).read(0, 4) == b"\x7fELF"


def test_a_file_that_replaced_the_mapped_one_is_not_taken_for_it(tmp_path):
    program = tmp_path / "program"
    shutil.copy(shutil.which("sleep"), program)
    images = Images()
    taken = images.find(SHELL, TEXT, TEXT + 0x1000, str(program))
    assert taken.elf is not None and taken.build_id
    refused = images.find(SHELL, TEXT, TEXT + 0x1000, str(program), b"another build id")
    assert refused.elf is None and refused.module == str(program)
    again = images.find(SHELL, TEXT, TEXT + 0x1000, str(program), taken.build_id)
    assert again is taken


def test_a_file_is_opened_again_when_too_many_were_open(tmp_path, monkeypatch):
    monkeypatch.setattr("tracelab.recorder.images.MAX_OPEN", 1)
    images = Images()
    found = []
    for name in ("true", "sleep"):
        shutil.copy(shutil.which(name), tmp_path / name)
        found.append(images.find(SHELL, TEXT, TEXT + 0x1000, str(tmp_path / name)))
    assert found[0].elf.source.fd < 0 <= found[1].elf.source.fd
    assert images.source(found[0]).read(0, 4) == b"\x7fELF"
    (tmp_path / "sleep").unlink()
    assert images.source(found[1]) is None


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link_to_fifo(path: Path) -> None:
    os.mkfifo(path.parent / "fifo")
    path.symlink_to("fifo")


HOSTILE = {
    "a FIFO": _fifo,
    "a link to a FIFO": _link_to_fifo,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a folder": lambda path: path.mkdir(),
    "an empty file": lambda path: path.write_bytes(b""),
    "a script": lambda path: path.write_bytes(b"#!/bin/sh\n" * 1000),
    "the first bytes of an ELF file": lambda path: path.write_bytes(b"\x7fELF\x02\x01"),
    "ELF magic and noise": lambda path: path.write_bytes(b"\x7fELF\x02\x01" + bytes(range(256)) * 40),
    "a huge empty file": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_a_path_that_is_no_program_gives_an_image_without_a_file(tmp_path, make):
    path = tmp_path / "program"
    make(path)
    image = Images().find(SHELL, TEXT, TEXT + 0x1000, str(path))
    assert image is not None and image.elf is None and image.module == str(path)


def test_a_name_that_is_no_text_is_shown_as_text(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    shutil.copy(shutil.which("true"), path)
    image = Images().find(SHELL, TEXT, TEXT + 0x1000, path)
    assert image.elf is not None
    assert image.module.encode().decode().endswith("/\N{REPLACEMENT CHARACTER}")
