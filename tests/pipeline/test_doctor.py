"""What `autoseg doctor` finds on this machine and on worse ones."""

from __future__ import annotations

import importlib
import json
from importlib import metadata
from pathlib import Path

import pytest

import autoseg
from autoseg.cli import main
from autoseg.core import machine
from autoseg.pipeline import doctor as story
from autoseg.pipeline import doctor_packages
from autoseg.pipeline.doctor import WIDTH, can_work, doctor, doctor_table
from autoseg.pipeline.doctor_packages import FINE, NOTE, PROBLEM, Finding, packages
from autoseg.settings import RunSettings, resolve

CPU = RunSettings(device="cpu", threads=1)


def by_topic(found: list[Finding]) -> dict[str, Finding]:
    assert len({each.topic for each in found}) == len(found)
    return {each.topic: each for each in found}


def test_this_machine_can_work_and_everything_is_said_once(tmp_path: Path) -> None:
    found = by_topic(doctor(tmp_path / "workspace", CPU))
    assert {"Python", "packages", "shtab", "processor", "threads", "precision", "memory", "workspace"} <= {*found}
    assert can_work([*found.values()]) and not (tmp_path / "workspace").exists()
    dtype = str(resolve(CPU).dtype or "float32").removeprefix("torch.")
    assert found["precision"].found == f"on cpu: trains in {dtype}, predicts in float32"
    assert f"torch {metadata.version('torch')}" in found["packages"].found
    assert found["threads"].found.startswith(f"1 used, {machine.cores()} allowed")
    assert str(tmp_path / "workspace") in found["workspace"].found


def test_the_table_fits_and_says_below_what_to_change() -> None:
    found = [Finding("disk", NOTE, "slow " * 40, "buy another"), Finding("torch", PROBLEM, "gone", "pip install torch")]
    text = doctor_table(found)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "torch  PROBLEM: gone\n       -> pip install torch" in text
    assert text.endswith("autoseg cannot work here: 1 problem")
    assert doctor_table(found[:1]).endswith("autoseg can work here")


REQUIRED = ["torch>=2.6", "no-such-package-here>=1", "numpy>=9000", 'pytest>=8000; extra == "dev"', "tqdm"]


def test_packages_are_held_against_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: REQUIRED)
    found = by_topic(packages())
    missing, old = found["no-such-package-here"], found["numpy"]
    assert (missing.state, missing.found) == (PROBLEM, "not installed")
    assert missing.advice == 'pip install "no-such-package-here>=1"'
    assert old.state == PROBLEM and old.found == f"{metadata.version('numpy')} is installed, >=9000 is needed"
    assert found["packages"].found.startswith("torch ") and "pytest" not in found


def test_an_autoseg_that_lies_there_without_being_installed_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", not_found)
    found = by_topic(packages())
    assert found["packages"].state == NOTE and "packaging" not in found


def test_a_gpu_that_another_program_has_for_itself_stops_no_other_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def taken(number: int) -> tuple[int, int]:
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\nmore about it")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", taken)
    found = by_topic(doctor(tmp_path, CPU))
    assert found["cuda:0"].state == NOTE and found["cuda:0"].found.endswith("busy or unavailable")
    assert found["memory"].state in (FINE, NOTE)


def test_a_torch_that_cannot_be_loaded_stops_no_other_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> None:
        raise OSError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", fails)
    found = by_topic(doctor(tmp_path, CPU))
    assert found["torch"].state == PROBLEM and "libcudart.so.12" in found["torch"].found
    assert "precision" not in found and found["memory"].state in (FINE, NOTE)


def test_an_optional_package_that_is_missing_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_packages, "OPTIONAL", {"no-such-package-here": ("completion", "tab completion")})
    found = by_topic(packages())["no-such-package-here"]
    assert (found.state, found.advice) == (FINE, 'pip install "autoseg[completion]"')


def test_a_limit_of_memory_is_told_with_what_the_machine_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10**9)
    found = by_topic(doctor(tmp_path, CPU))["memory"]
    assert found.state == NOTE and "of 1 GB, a limit of the container or job; the machine has" in found.found


@pytest.mark.parametrize(("free", "state"), [(10**6, PROBLEM), (5 * 10**9, NOTE), (10**12, FINE)])
def test_the_room_of_a_disk_decides(free: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(story.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(story, "kind_of_disk", lambda path: None)
    assert by_topic(doctor(tmp_path, CPU))["workspace"].state == state


def test_a_network_drive_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "kind_of_disk", lambda path: "network drive")
    found = by_topic(doctor(tmp_path, CPU))["workspace"]
    assert found.state == NOTE and "--workspace" in found.advice


def test_the_command_says_it_and_ends_with_2_where_nothing_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["doctor", "--device", "cpu", "--workspace", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("autoseg can work here\n")
    assert main(["doctor", "--device", "cpu", "--json", "--workspace", str(tmp_path)]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["able"] and last["exit_code"] == 0 and "precision" in {each["topic"] for each in last["findings"]}
    assert main(["doctor", "--device", "cpu", "--workspace", str(tmp_path / "file" / "x")]) == 2


def test_a_notebook_asks_the_same(tmp_path: Path) -> None:
    assert can_work(autoseg.doctor(tmp_path, settings=CPU))
    with pytest.raises(autoseg.errors.UsageError, match="cuda:99"):
        autoseg.doctor(tmp_path, settings=RunSettings(device="cuda:99"))
