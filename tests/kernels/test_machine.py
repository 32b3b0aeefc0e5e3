"""What is missing for a machine is said before anything is started, and why one went down afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels import machine


@pytest.fixture
def kernel(tmp_path: Path) -> machine.Kernel:
    (tmp_path / "modules").mkdir()
    (tmp_path / "busybox").write_text("")
    return machine.Kernel(tmp_path / "vmlinuz", tmp_path / "modules", tmp_path / "busybox")


def test_without_qemu_or_what_serves_it_files_the_message_says_which_package_has_it(
    kernel: machine.Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "VIRTIOFSD", ("virtiofsd",))
    with pytest.raises(machine.NoMachine, match="qemu-system-x86 is missing"):
        machine.run(kernel, "true", tmp_path, tmp_path, limit_s=1)
    (tmp_path / "qemu-system-x86_64").write_text("")
    (tmp_path / "qemu-system-x86_64").chmod(0o755)
    with pytest.raises(machine.NoMachine, match="virtiofsd is missing"):
        machine.run(kernel, "true", tmp_path, tmp_path, limit_s=1)


def test_a_panic_is_the_last_thing_a_kernel_says_whatever_it_prints_after_it() -> None:
    console = """\
[    2.3] Run /init as init process
[   53.3] Oops: double fault: 0000 [#1] PREEMPT SMP NOPTI
[   53.9] Kernel panic - not syncing: Fatal exception in interrupt
[   57.0] Kernel Offset: 0x34a00000 from 0xffffffff81000000
"""
    assert machine.last_words(console) == "Kernel panic - not syncing: Fatal exception in interrupt"
    assert machine.last_words("[    2.3] Run /init as init process\n") == ""
