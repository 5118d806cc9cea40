"""What `check` and `--explain` say of channels, from folders to text, and that the fingerprint keeps it."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from two_channels import GRID, moved, phantom, rigid, save

from autoseg.cli import main
from autoseg.commands.plan import explained
from autoseg.core.records import CHECKSUM
from autoseg.data.fingerprint import CaseFingerprint, Fingerprint
from autoseg.inspection.channel_table import WIDTH
from autoseg.planning.explain import explanation
from autoseg.workspace import Workspace

NAME = "Dataset060_Channels"
ADDED = ("modality", "foreground", "background", "nonzero", "grid", "information")


def run(*words: object, cwd: Path, code: int = 0) -> str:
    """What goes to stdout."""
    said, noted = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(noted):
        returned = main([*map(str, words), "--workspace", str(cwd / "workspace")])
    assert returned == code, said.getvalue() + noted.getvalue()
    return said.getvalue()


def make(folder: Path, *names: str, ct: bool = False) -> Path:
    shift = moved(GRID, *rigid((0.0, 0.0, 0.1), (6.0, -6.0, 0.0)))
    for number in range(5):
        first, second, labels = phantom(number)
        if ct:
            second = np.where(second > 0, second - 60, -1000) + np.random.default_rng(number).normal(0, 8, second.shape)
        channels = ((second.astype(np.float32), GRID), (first, shift))
        for channel, (array, geometry) in list(enumerate(channels))[: len(names)]:
            save(array, geometry, folder / "imagesTr" / f"case_{number}_{channel:04d}.nii.gz")
        save(labels, GRID, folder / "labelsTr" / f"case_{number}.nii.gz")
    described = {
        "channel_names": {str(number): name for number, name in enumerate(names)},
        "labels": {"background": 0, "left": 1, "right": 2},
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


def row(text: str, label: str) -> list[str]:
    (found,) = [line for line in text.splitlines() if line.startswith(label + " ")]
    return found.removeprefix(label).split()


@pytest.mark.slow
def test_two_channels_in_check_and_explanations(tmp_path: Path) -> None:
    folder = make(tmp_path / NAME, "T2", "second")
    said = run("check", folder, cwd=tmp_path)
    assert said.startswith(f"channels of {NAME}: medians of 5 cases")
    assert row(said, "modality") == ["MR", "MR", "(guess)"]
    assert row(said, "present in") == ["5", "of", "5", "cases"] * 2
    none, shared = row(said, "NMI with T2 (1 to 2)")
    assert none == "-" and 1.02 < float(shared) < 1.6
    assert row(said, "covers T2")[0] == "-" and 80 < int(row(said, "covers T2")[1].rstrip("%")) < 100
    none, shift, *cases = row(said, "off T2, mm")
    assert none == "-" and 2 < float(shift) < 30 and cases == ["(in", "5", "of", "5)"]
    assert "fused picture" in said and "bits in the fused picture" in said
    assert max(map(len, said.splitlines())) <= WIDTH

    reasons = run("plan_and_preprocess", folder, "--planner", "tiny", "-c", "3d_fullres", "--explain", cwd=tmp_path)
    table = said.partition("\nnote")[0]
    assert reasons.startswith(table) and f"{NAME}, planned by tiny" in reasons
    assert run("plan", NAME, "--planner", "tiny", "--explain", cwd=tmp_path) == reasons

    files = Workspace(tmp_path / "workspace").dataset_folder(NAME)
    for case in files.read_fingerprint().cases.values():
        assert case.fusion_quality is not None and case.channels[1] is not None
        assert case.channels[1].foreground is not None and case.channels[1].grid is not None
    record = json.loads(files.fingerprint.read_text())
    for case in record["cases"].values():
        del case["fusion_quality"]
        for channel in case["channels"]:
            for name in ADDED:
                del channel[name]
    del record[CHECKSUM]
    files.fingerprint.write_text(json.dumps(record))
    again = run("plan", NAME, "--planner", "tiny", "--explain", cwd=tmp_path)
    assert "present in" in again and "NMI" not in again and again.endswith(reasons[reasons.index("planned by") :])


def test_ct_that_is_not_named_so_is_told_until_it_is(tmp_path: Path) -> None:
    folder = make(tmp_path / NAME, "image", ct=True)
    said = " ".join(run("check", folder, cwd=tmp_path).split())
    assert "channel 0 (image) looks like CT: values begin at about -10" in said and "in 5 of 5 cases" in said
    assert "--normalizer image=ct" in said and "modality CT (guess)" in said
    text = run("plan_and_preprocess", folder, "--planner", "tiny", "-c", "3d_fullres", "--explain", cwd=tmp_path)
    files = Workspace(tmp_path / "workspace").dataset_folder(NAME)
    assert (
        "modality" in text
        and "ct" not in json.loads(files.plan.read_text())["configurations"]["3d_fullres"]["normalizers"][0]["name"]
    )

    described = json.loads((folder / "dataset.json").read_text()) | {"channel_names": {"0": "CT"}}
    (folder / "dataset.json").write_text(json.dumps(described))
    said = " ".join(run("check", folder, cwd=tmp_path).split())
    assert "looks like CT" not in said and "modality CT present" in said and "0 errors" in said


def test_a_broken_case_is_left_out_of_the_table(tmp_path: Path) -> None:
    folder = make(tmp_path / NAME, "T2")
    first, _, _ = phantom()
    save(np.full_like(first, np.nan), GRID, folder / "imagesTr" / "case_0_0000.nii.gz")
    said = run("check", folder, cwd=tmp_path, code=2)
    assert row(said, "present in") == ["4", "of", "4", "cases"] and "NaN or infinite" in said
    for path in (folder / "imagesTr").iterdir():
        path.write_bytes(b"no image")
    said = run("check", folder, cwd=tmp_path, code=2)
    assert "channels of" not in said and "5 errors" in said


def test_of_nnunets_fingerprint_nothing_is_said_of_channels(tmp_path: Path) -> None:
    folder = make(tmp_path / NAME, "T2")
    run("plan_and_preprocess", folder, "--planner", "tiny", "-c", "3d_fullres", cwd=tmp_path)
    plan = Workspace(tmp_path / "workspace").dataset_folder(NAME).read_plan()
    bare = Fingerprint({"a": CaseFingerprint((9, 9, 9), (1.0, 1.0, 1.0), (9, 9, 9), 1.0, "")}, ())
    assert explained(plan, bare) == explanation(plan)
