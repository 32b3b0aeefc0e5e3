"""Ids from the paths that runtimes give control groups, and names from the files that they write."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tracelab.recorder.containers import Containers, container_id, named_by_environment
from tracelab.recorder.runtimefiles import RuntimeFiles

A, B = "3f" * 32, "0c" * 32
ROOT = Path(__file__).parents[1] / "data" / "containers"


@pytest.mark.parametrize(
    ("group", "number"),
    [
        (f"/docker/{A}", A),
        (f"/system.slice/docker-{A}.scope", A),
        (f"/system.slice/docker-{A}.scope/init.scope", A),
        (f"/docker/{A}/docker/{B}", B),
        (f"/../../docker/{A}", A),
        (f"/kubepods/burstable/pod005f082b-5fd9-4650-8ef4-473e63bc2d13/{A}", A),
        (
            f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{A}.scope",
            A,
        ),
        (f"/system.slice/containerd.service/kubepods-besteffort-pod1_2.slice:cri-containerd:{A}", A),
        (f"/kubepods.slice/kubepods-pod1_2.slice/crio-{A}.scope", A),
        (f"/kubepods.slice/kubepods-pod1_2.slice/crio-conmon-{A}.scope", None),
        (f"/machine.slice/libpod-{A}.scope/container", A),
        (f"/machine.slice/libpod-conmon-{A}.scope", None),
        (f"/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope", A),
        (f"/machine.slice/machine-libpod_pod_{B}.slice", None),
        (f"/libpod_parent/libpod-{A}", A),
        ("/libpod_parent/conmon", None),
        (f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope", A),
        (f"/system.slice/web.service/libpod-payload-{A}", A),
        (f"/system.slice/nerdctl-{A}.scope", A),
        (f"/ecs/4a1ab1e8a5f14b8b9c1d3c6b8f0e2d11/{A}", A),
        (
            "/ecs/4a1ab1e8a5f14b8b9c1d3c6b8f0e2d11/4a1ab1e8a5f14b8b9c1d3c6b8f0e2d11-1234567890",
            "4a1ab1e8a5f14b8b9c1d3c6b8f0e2d11-1234567890",
        ),
        ("/machine.slice/machine-box.scope", "box"),
        ("/machine.slice/systemd-nspawn@box.service/payload", "box"),
        ("/machine.slice/systemd-nspawn@box.service/supervisor", None),
        (r"/machine.slice/machine-my\x2dbox.scope", "my-box"),
        (r"/machine.slice/machine-lxc\x2d1234\x2dbox.scope", "box"),
        (r"/machine.slice/machine-qemu\x2d1\x2dbox.scope", None),
        ("/lxc.payload.box/system.slice/cron.service", "box"),
        ("/lxc.monitor.box", None),
        ("/lxc/box", "box"),
        ("/lxc.payload/box/init.scope", "box"),
        ("/system.slice/cron.service", None),
        ("/user.slice/user-0.slice/session-3.scope", None),
        (f"/system.slice/app-{A}0.service", None),  # 65 digits
        ("/", None),
        ("", None),
    ],
)
def test_the_id_of_a_container_is_in_the_path_of_its_control_group(group: str, number: str | None) -> None:
    assert container_id(group) == number
    assert container_id(group + " (deleted)" if number else group) == number


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("ae49d5390ba53eda5f65d62a87e51fa26a257457037bcf6e7e0c2ac16d59bb0e", "cache"),
        ("e170aa53351b077c65688bfd5089a5c253b7eaa280b25e9e24ebe969b623d770", "shop/web-7c5d/nginx"),
        ("675c193f9421b70c3bb74d92579015d16f3bc2b10e87a5380877b0ef50412bca", "web-1"),
        ("0132101abecd70c439215f0da93d3ab1ed15cd9973d21cabb836d726e9cea84d", "tmp-2"),
        (
            "6a825448c5ef07ac0c3b99532b18bdec0e1d0bb1eb41b4672d570634a1409a85",
            "default/hostname-lb-edge-64df67bd8b-xmzhv/hostname",
        ),
        (
            "446c65ab43d490ab8d7f693a46050db88f66a2bf657eda0c3de8bc8bab516be4",
            "default/hostname-lb-edge-64df67bd8b-xmzhv",
        ),
        ("134b58ab2e0cfd7432a9db818b1b4ec52fdc747333f0ba2c9342860dc2ea7c50", "default/segfaulter/crasher"),
        (A, None),
        ("../../../../etc", None),
    ],
)
def test_a_runtime_s_own_files_name_a_container(number: str, name: str | None) -> None:
    assert RuntimeFiles(ROOT).name(number) == name


def test_a_process_is_in_the_container_that_any_of_its_hierarchies_tells() -> None:
    cache = "ae49d5390ba53eda5f65d62a87e51fa26a257457037bcf6e7e0c2ac16d59bb0e"
    assert Containers(ROOT).of(os.getpid(), ["/", "/user.slice", f"/docker/{cache}"]) == (cache, "cache")
    assert Containers(ROOT).of(os.getpid(), ["/", "/user.slice"]) is None


def test_a_task_of_containerd_may_have_any_name_for_an_id() -> None:
    assert Containers(ROOT).of(os.getpid(), ["/default/redis-one"]) == ("redis-one", "redis-one")
    assert Containers(ROOT).of(os.getpid(), ["/other/redis-one"]) is None


def test_a_rootless_runtime_keeps_its_files_in_the_user_s_home(tmp_path: Path) -> None:
    import pwd

    home = pwd.getpwuid(0).pw_dir.lstrip("/")
    file = tmp_path / home / ".local/share/containers/storage/vfs-containers/containers.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps([{"id": A, "names": ["mine"]}]))
    group = f"/user.slice/user-0.slice/user@0.service/user.slice/libpod-{A}.scope"
    assert Containers(tmp_path).of(os.getpid(), [group]) == (A, "mine")


def test_docker_s_data_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "etc/docker").mkdir(parents=True)
    (tmp_path / "etc/docker/daemon.json").write_text('{"data-root": "/big/docker"}')
    folder = tmp_path / "big/docker/containers" / A
    folder.mkdir(parents=True)
    (folder / "config.v2.json").write_text('{"Name": "/db", "Config": {"Labels": null}}')
    assert RuntimeFiles(tmp_path).name(A) == "db"


def test_an_index_that_changed_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "var/lib/containers/storage/overlay-containers/containers.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps([{"id": A, "names": ["first"]}]))
    files = RuntimeFiles(tmp_path)
    assert (files.name(A), files.name(B)) == ("first", None)
    file.write_text(json.dumps([{"id": A, "names": ["first"]}, {"id": B, "names": ["second"]}]))
    os.utime(file, ns=(1, 1))
    assert (files.name(A), files.name(B)) == ("first", "second")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"Name": 7}',
        '{"Name": null, "Config": 3}',
        "[" * 100_000,
        '{"Config": {"Labels": [1]}}',
    ],
)
def test_a_damaged_file_names_nothing(tmp_path: Path, text: str) -> None:
    for file in (
        f"var/lib/docker/containers/{A}/config.v2.json",
        f"run/containerd/io.containerd.runtime.v2.task/moby/{A}/config.json",
        "var/lib/containers/storage/overlay-containers/containers.json",
    ):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text(text)
    assert RuntimeFiles(tmp_path).name(A) is None


def test_a_pipe_or_a_link_in_the_place_of_a_file_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"Name": "/secret"}')
    for number, make in ((A, os.mkfifo), (B, lambda path: os.symlink(secret, path))):
        folder = tmp_path / "var/lib/docker/containers" / number
        folder.mkdir(parents=True)
        make(folder / "config.v2.json")  # opening a pipe for reading would wait for ever
        assert RuntimeFiles(tmp_path).name(number) is None


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"CONTAINER_NAME": "db"}, "db"),
        ({"HOSTNAME": A[:12]}, None),  # what docker and podman call a container's host
        ({"HOSTNAME": "db.example"}, "db.example"),
        ({"HOSTNAME": "web-7c5d", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "web-7c5d"),
        (
            {
                "POD_NAME": "web-7c5d",
                "POD_NAMESPACE": "shop",
                "HOSTNAME": "n",
                "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            },
            "shop/web-7c5d",
        ),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),
        ({"HOSTNAME": os.uname().nodename}, None),
        ({}, None),
    ],
)
def test_the_environment_names_a_container_that_no_file_does(
    variables: dict[str, str], name: str | None
) -> None:
    assert named_by_environment(A, variables) == name


def test_what_the_recorder_has_in_its_own_environment_names_no_container(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONTAINER_NAME", "where-the-recorder-is")
    assert named_by_environment(A, {"CONTAINER_NAME": "where-the-recorder-is"}) is None
