"""From label maps to surfaces: names, files, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.errors import DatasetError, UsageError
from autoseg.parts.readers import write_labels
from autoseg.pipeline.mesh import mesh

GRID = Geometry.plain((20, 24, 28), (2.0, 1.0, 1.0))


@pytest.fixture
def label_map(tmp_path: Path) -> Path:
    array = np.zeros(GRID.shape, np.uint8)
    array[2:12, 2:12, 2:12], array[14:18, 10:20, 10:20] = 1, 4
    write_labels(array, GRID, tmp_path / "p7.nii.gz")
    return tmp_path / "p7.nii.gz"


def named(folder: Path, **described: object) -> None:
    (folder / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "CT"}, "file_ending": ".nii.gz"} | described)
    )


def test_every_label_that_occurs_becomes_a_file(label_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    named(tmp_path, labels={"background": 0, "liver": 1, "gone": 2, "spleen": 4})
    assert main(["mesh", str(label_map), "-o", str(tmp_path / "out.stl"), "--smooth"]) == 0
    said = capsys.readouterr()
    assert {path.name for path in tmp_path.glob("*.stl")} == {"out_liver.stl", "out_spleen.stl"}
    assert "out_liver.stl: liver, 2 ml" in said.out and "out_spleen.stl: spleen, 0.8 ml" in said.out
    assert "no voxel belongs to gone" in said.err


def test_one_label_is_the_file_that_was_named(label_map: Path, tmp_path: Path) -> None:
    (one,) = mesh(label_map, tmp_path / "a.ply", label="label_4")  # nobody names the values
    assert (one.path, one.label) == (tmp_path / "a.ply", "label_4") and one.path.read_bytes().startswith(b"ply\n")
    assert one.volume_ml == pytest.approx(0.8, rel=0.07)  # corners of so small a box are cut off


def test_overlapping_regions_and_masks_are_whole(tmp_path: Path, label_map: Path) -> None:
    named(tmp_path, labels={"background": 0, "all": [1, 4], "core": [4]}, regions_class_order=[1, 4])
    found = {each.label: each.volume_ml for each in mesh(label_map, tmp_path / "r.stl", smooth=True)}
    assert found == pytest.approx({"all": 2.8, "core": 0.8}, rel=1e-3)
    masks = tmp_path / "masks"
    named_masks = {"lung": np.zeros(GRID.shape, np.uint8), "nodule": np.zeros(GRID.shape, np.uint8)}
    named_masks["lung"][2:12, 2:12, 2:12] = named_masks["nodule"][4:6, 4:9, 4:9] = 1
    for name, array in named_masks.items():
        write_labels(array, GRID, masks / f"p1_{name}.nii.gz")
    named(masks, masks=["lung", "nodule", "trachea"])
    found = {each.label: each.volume_ml for each in mesh(masks / "p1_lung.nii.gz", masks / "m.stl", smooth=True)}
    assert found == pytest.approx({"lung": 2.0, "nodule": 0.1}, rel=1e-3)


def test_a_label_that_is_absent_is_told(label_map: Path, tmp_path: Path) -> None:
    named(tmp_path, labels={"background": 0, "liver": 1, "gone": 2, "spleen": 4})
    with pytest.raises(DatasetError, match="no voxel belongs to gone"):
        mesh(label_map, tmp_path / "a.stl", label="gone")
    with pytest.raises(UsageError, match=r"no label 'heart' .* there are liver, gone, spleen"):
        mesh(label_map, tmp_path / "a.stl", label="heart")
    write_labels(np.zeros(GRID.shape, np.uint8), GRID, tmp_path / "empty.nii.gz")
    with pytest.raises(DatasetError, match="no voxel belongs to any label"):
        mesh(tmp_path / "empty.nii.gz", tmp_path / "a.stl")
    assert not [*tmp_path.glob("*.stl")]


def test_what_is_there_stays(label_map: Path, tmp_path: Path) -> None:
    (tmp_path / "a_label_4.stl").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        mesh(label_map, tmp_path / "a.stl")
    assert (tmp_path / "a_label_4.stl").read_text() == "mine" and not (tmp_path / "a_label_1.stl").exists()


def test_nothing_stays_of_what_could_not_be_finished(
    label_map: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoseg.interop.surfaces import Surface

    made = Surface.smoothed

    def once(self: Surface, volume: float) -> Surface:
        if [*tmp_path.glob("a_*.stl")]:
            raise KeyboardInterrupt
        return made(self, volume)

    monkeypatch.setattr(Surface, "smoothed", once)
    with pytest.raises(KeyboardInterrupt):
        mesh(label_map, tmp_path / "a.stl", smooth=True)
    assert not [*tmp_path.glob("*.stl")]


@pytest.mark.parametrize(("output", "said"), [("a.obj", "must end in .stl or .ply"), ("a", "must end in")])
def test_other_endings_are_refused(label_map: Path, tmp_path: Path, output: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        mesh(label_map, tmp_path / output)


def test_names_that_are_no_names_of_files_need_a_file_of_their_own(label_map: Path, tmp_path: Path) -> None:
    named(tmp_path, labels={"background": 0, "prostate/uterus": 1, "b": 4})
    with pytest.raises(UsageError, match="--label"):
        mesh(label_map, tmp_path / "a.stl")
    (one,) = mesh(label_map, tmp_path / "a.stl", label="prostate/uterus")
    assert one.path == tmp_path / "a.stl"


def test_a_2d_label_map_has_no_surface(tmp_path: Path) -> None:
    write_labels(np.eye(5, dtype=np.uint8)[None], Geometry.plain_2d((5, 5)), tmp_path / "a.png")
    with pytest.raises(DatasetError, match="2-D"):
        mesh(tmp_path / "a.png", tmp_path / "a.stl")
