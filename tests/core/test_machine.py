"""Cores and memory are what this process may use, not what the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoseg.core import machine

MACHINE_CORES, MACHINE_BYTES, PAGE = 64, 1 << 38, 4096
UNLIMITED = 9223372036854771712  # what version 1 writes


@pytest.fixture(autouse=True)
def big_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Many cores, much memory, no control groups."""
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(MACHINE_CORES)), raising=False)
    sizes = {"SC_PAGE_SIZE": PAGE, "SC_PHYS_PAGES": MACHINE_BYTES // PAGE}
    monkeypatch.setattr(os, "sysconf", lambda name: sizes[name], raising=False)


def member(tmp_path: Path, *lines: str) -> None:
    (tmp_path / "membership").write_text("\n".join(lines) + "\n")


def limit(tmp_path: Path, group: str, **files: str | int) -> None:
    folder = tmp_path / "cgroup" / group
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def test_without_control_groups_it_is_affinity_and_the_machine() -> None:
    assert (machine.cores(), machine.memory_bytes()) == (MACHINE_CORES, MACHINE_BYTES)


def test_affinity_binds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert machine.cores() == 3


def test_version_2_of_a_container(tmp_path: Path) -> None:
    member(tmp_path, "0::/")
    limit(tmp_path, "", cpu__max="250000 100000", memory__max=8 << 30)
    assert (machine.cores(), machine.memory_bytes()) == (3, 8 << 30)


def test_version_2_without_limits(tmp_path: Path) -> None:
    member(tmp_path, "0::/")
    limit(tmp_path, "", cpu__max="max 100000", memory__max="max")
    assert (machine.cores(), machine.memory_bytes()) == (MACHINE_CORES, MACHINE_BYTES)


@pytest.mark.parametrize("tightest", ["batch/job/step", "batch/job", "batch"])
def test_of_nested_groups_the_tightest_binds(tmp_path: Path, tightest: str) -> None:
    member(tmp_path, "0::/batch/job/step")
    for group in ("batch/job/step", "batch/job", "batch"):
        limit(tmp_path, group, cpu__max="1600000 100000", memory__max=64 << 30)
    limit(tmp_path, tightest, cpu__max="200000 100000", memory__max=4 << 30)
    assert (machine.cores(), machine.memory_bytes()) == (2, 4 << 30)


def test_another_groups_limits_do_not_bind(tmp_path: Path) -> None:
    member(tmp_path, "0::/mine")
    limit(tmp_path, "theirs", cpu__max="100000 100000", memory__max=1 << 30)
    assert (machine.cores(), machine.memory_bytes()) == (MACHINE_CORES, MACHINE_BYTES)


@pytest.mark.parametrize("inside", ["slurm/job_7", ""], ids=["of the host", "seen from within the container"])
def test_version_1(tmp_path: Path, inside: str) -> None:
    member(tmp_path, "7:memory:/slurm/job_7", "3:cpuset:/", "2:cpu,cpuacct:/slurm/job_7", "1:name=systemd:/")
    limit(tmp_path, f"cpu,cpuacct/{inside}", cpu__cfs_quota_us=150000, cpu__cfs_period_us=100000)
    limit(tmp_path, f"memory/{inside}", memory__limit_in_bytes=16 << 30)
    assert (machine.cores(), machine.memory_bytes()) == (2, 16 << 30)


def test_version_1_without_limits(tmp_path: Path) -> None:
    member(tmp_path, "2:memory:/", "1:cpu:/")
    limit(tmp_path, "cpu", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    limit(tmp_path, "memory", memory__limit_in_bytes=UNLIMITED)
    assert (machine.cores(), machine.memory_bytes()) == (MACHINE_CORES, MACHINE_BYTES)


def test_a_sliver_of_a_core_is_one(tmp_path: Path) -> None:
    member(tmp_path, "0::/")
    limit(tmp_path, "", cpu__max="5000 100000")
    assert machine.cores() == 1
