"""Names of a folder without a dataset.json stay, once they have been given."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import autoseg
from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.data.layouts import Names
from autoseg.parts.readers import write_channels, write_labels
from autoseg.pipeline.modalities import read_with_modalities
from autoseg.workspace import Workspace

GRID = Geometry.plain((8, 16, 16), (1.0, 1.0, 1.0))


def test_names_that_are_not_given_again_stay_as_long_as_they_fit(tmp_path: Path, capsys) -> None:
    random = np.random.default_rng(0)
    raw = tmp_path / "brains"
    for key in "abc":
        labels = (np.arange(16) // 6)[None, None].repeat(16, 1).repeat(8, 0)
        image = (1000 + 10 * labels + random.normal(size=GRID.shape)).astype(np.float32)
        write_channels(image[None], GRID, raw / f"images/{key}.nii.gz")
        write_labels(labels, GRID, raw / f"labels/{key}_seg.nii.gz")
    at = ["--workspace", str(tmp_path / "w")]
    assert main(["fingerprint", str(raw), "--channels", "T1", "--labels", "CSF,GM", *at]) == 0
    files = Workspace(tmp_path / "w").dataset_folder("brains")
    assert main(["fingerprint", str(raw), *at]) == 0
    dataset = files.read_dataset()
    assert dataset.channels == ("T1",) and [*dataset.labels.foreground] == ["CSF", "GM"]
    assert main(["check", str(raw), *at]) == 0
    assert "0 T1" in capsys.readouterr().out
    assert autoseg.check(raw, tmp_path / "w", labels=["CSF", "GM"]) == []
    again = read_with_modalities(raw, None, Names(labels=("a", "b")), files)
    assert again.channels == ("T1",) and [*again.labels.foreground] == ["a", "b"]
    assert main(["check", str(raw), "--labels", "CSF", *at]) == 2
    assert "--labels names 1 label" in capsys.readouterr().err
    (raw / "images/a.nii.gz").unlink()
    (raw / "labels/a_seg.nii.gz").unlink()
    write_labels(np.full(GRID.shape, 7), GRID, raw / "labels/b_seg.nii.gz")
    assert [*read_with_modalities(raw, None, files=files).labels.foreground] == ["label_1", "label_2", "label_7"]
