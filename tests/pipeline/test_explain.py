"""`autoseg explain`: maps on the image's grid, and what cannot be explained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import EDGE, Planted, around
from safetensors.torch import load, save
from small_models import EXCLUSIVE, GEOMETRY, REGIONS, image, plan_of, weights

import autoseg
from autoseg.bundle.manifest import Manifest
from autoseg.bundle.write import write_bundle
from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.data.dataset import Case
from autoseg.errors import DatasetError
from autoseg.inference.decided import Decided
from autoseg.inference.model import Model
from autoseg.parts.readers import read_image, write_channels
from autoseg.pipeline import explain as story
from autoseg.pipeline.explain import explain, file_names, methods
from autoseg.plan import Plan
from autoseg.settings import RunSettings

FAST = ("--device", "cpu", "--threads", "1")


@pytest.fixture
def model(small_plan: Plan, tmp_path: Path) -> Path:
    return model_of(small_plan, tmp_path, "3d_fullres")


def model_of(small_plan: Plan, folder: Path, name: str, labels: object = EXCLUSIVE, folds: int = 2) -> Path:
    """A bundle of one configuration, and an image ``in/case_0000.nii.gz``."""
    plan = plan_of(small_plan, labels)  # type: ignore[arg-type]
    plan = replace(plan, configurations={name: plan.configurations[name]}, default=name)
    numbers = tuple(map(str, range(folds)))
    stored = {name: {fold: weights(plan, name, int(fold)) for fold in numbers}}
    write_bundle(folder / "model.zip", Manifest("Small", {name: numbers}, {name: 1.0}), plan, stored)
    write_channels(image().array, GEOMETRY, folder / "in" / "case_0000.nii.gz")
    return folder


def call(folder: Path, *words: str | Path, out: str = "out") -> int:
    given = ["explain", folder / "model.zip", folder / "in" / "case_0000.nii.gz", "-o", folder / out, *words, *FAST]
    return main([*map(str, given), "--workspace", str(folder / "workspace")])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["3d_fullres", "2d"])
@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS], ids=["exclusive", "regions"])
def test_maps_lie_on_the_images_grid(small_plan: Plan, tmp_path: Path, name: str, labels: object) -> None:
    folder = model_of(small_plan, tmp_path, name, labels)
    methods = ("grad_cam", "guided_backpropagation", "occlusion")
    assert call(folder, *(word for method in methods for word in ("--method", method))) == 0
    told = json.loads((folder / "out" / "explained.json").read_text())
    told = told["maps"] if isinstance(told, dict) else told
    assert {one["method"] for one in told} == {*methods}
    for one in told:
        found = read_image([folder / "out" / one["file"]])
        assert found.geometry.shape == GEOMETRY.shape and found.geometry.spacing == pytest.approx(GEOMETRY.spacing)
        assert found.array.max() == pytest.approx(one["largest"], rel=1e-5)
        z, y, x = one["at"]
        assert found.array[0, z, y, x] == found.array.max() and 0 <= one["inside"] <= 1
        assert not found.array[:, 0].any() and not found.array[:, :, :2].any()  # cropped away: nothing was looked at
    found = {one["label"] for one in told}
    assert all((folder / "out" / f"case_{label}.png").stat().st_size > 5000 for label in found)
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert all(f"case, {one['label']}: {one['method']}" in page for one in told)
    assert "cannot be looked through" not in page


def test_python_gives_the_same_maps(model: Path) -> None:
    assert call(model, "--method", "occlusion", "--label", "organ") == 0
    settings = RunSettings(device="cpu", threads=1)
    found = autoseg.explain(
        model / "model.zip", model / "in" / "case_0000.nii.gz", model / "again", methods=["occlusion"],
        labels=["organ"], settings=settings,
    )  # fmt: skip
    (one,) = found
    first, second = (read_image([model / folder / one.file]).array for folder in ("out", "again"))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--label", "nope"), "the model has no label 'nope'; it has organ, lesion"),
        (("--label", "background"), "no label 'background'"),
        (("--method", "nope"), "no 'nope' in autoseg.parts.explanations; choose one of attention, grad_cam"),
        (("--method", "attention"), "no gates that weigh voxels"),
    ],
)
def test_what_cannot_be_explained_is_told(
    model: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(model, *words) == 2
    assert message in capsys.readouterr().err
    assert not [*(model / "out").glob("*.nii.gz")]


def test_other_peoples_files_are_spared(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / "out").mkdir()
    (model / "out" / "case_organ.png").write_text("mine")
    assert call(model, "--method", "grad_cam") == 2
    assert "holds other files; give -o a folder of its own" in capsys.readouterr().err
    assert (model / "out" / "case_organ.png").read_text() == "mine"
    assert call(model, "--method", "attention", out="again") == 2  # after it has begun
    assert call(model, "--method", "grad_cam", out="again") == call(model, "--method", "grad_cam", out="again") == 0


def test_a_case_that_is_nowhere_and_an_ensemble_are_refused(
    small_plan: Plan, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", str(model / "model.zip"), "somebody", "-o", str(tmp_path / "x"), *FAST]
    assert main([*words, "--workspace", str(tmp_path / "workspace")]) == 2
    assert "somebody: no such file" in capsys.readouterr().err
    plan, folds = plan_of(small_plan, EXCLUSIVE), {"3d_fullres": ("0",), "2d": ("0",)}
    stored = {name: {"0": weights(plan, name, 0)} for name in folds}
    write_bundle(tmp_path / "two.zip", Manifest("Two", folds, dict.fromkeys(folds, 0.5)), plan, stored)
    words[1:3] = [str(tmp_path / "two.zip"), str(model / "in" / "case_0000.nii.gz")]
    assert main([*words, "--workspace", str(tmp_path / "workspace")]) == 2
    assert "an ensemble of configurations" in capsys.readouterr().err


def test_an_image_in_which_nothing_is_found_is_told(
    small_plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(small_plan, EXCLUSIVE)
    plan = replace(plan, configurations={"2d": plan.configurations["2d"]}, default="2d")
    sure = load(weights(plan, "2d", 0))
    for name, weight in sure.items():
        if name.endswith("bias") and weight.shape == (3,):  # of the heads: background, whatever there is
            weight[0] = 1e4
    write_bundle(tmp_path / "model.zip", Manifest("Sure", {"2d": ("0",)}, {"2d": 1.0}), plan, {"2d": {"0": save(sure)}})
    write_channels(image().array, GEOMETRY, tmp_path / "in" / "case_0000.nii.gz")
    assert call(tmp_path) == 2
    assert "case case: the model finds none of organ, lesion in it" in capsys.readouterr().err


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
def test_evidence_is_found_where_it_lies_in_the_file(
    small_plan: Plan, tmp_path: Path, axes: tuple[int, int, int]
) -> None:
    """On another grid than that of the network, which looks SHIFT of its voxels further along its last axis."""
    plan = plan_of(small_plan, EXCLUSIVE)
    grid = replace(plan.configurations["3d_fullres"], patch_size=(EDGE,) * 3, spacing=(2.5, 3.0, 3.0))
    task = replace(plan, configurations={"3d": grid}, default="3d", axis_order=axes).task("3d")
    model = Model(task, (Planted(3).eval(),), ("0",), RunSettings(device="cpu", threads=1))
    geometry = Geometry.plain((44, 66, 56), (3.0, 2.0, 2.5))
    array, evidence = np.full((1, *geometry.shape), -0.01, np.float32), np.zeros(geometry.shape, bool)
    evidence[20:25, 30:38, 26:32] = True
    array[0, evidence] = 4.0
    write_channels(array, geometry, tmp_path / "case_0000.nii.gz")
    parts, case = methods(["grad_cam", "occlusion"]), Case.of_files("case", [str(tmp_path / "case_0000.nii.gz")])
    maps = list(explain(model, case, tmp_path, parts, {"organ": 1}, file_names(["case"], ["organ"], parts)))
    assert [seen.told.method for seen in maps] == ["grad_cam", "occlusion"]
    for seen in maps:
        near = around(evidence, 8)  # a block of 4 voxels is 12 mm
        positive = np.clip(seen.array, 0, None)
        assert near[seen.told.at] and positive[near].sum() > 0.9 * positive.sum() > 0
        assert seen.inside.any() and not (seen.inside & evidence).any() and seen.told.inside < 0.1


def test_of_many_labels_a_bit_or_an_index_is_kept_for_a_voxel() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 4, 5, 21)).astype(np.float32)
    apart = Decided.of_slices(iter(logits), 21, (3, 4, 5), False)
    alone = Decided.of_slices(iter(logits), 21, (3, 4, 5), True)
    for head in range(21):
        np.testing.assert_array_equal(apart.of(head), logits[..., head] > 0)
        np.testing.assert_array_equal(alone.of(head), logits.argmax(-1) == head)
    assert apart.stored.nbytes == 3 * 60 and alone.stored.nbytes == 2 * 60


def test_no_two_files_of_a_run_share_a_name() -> None:
    labels = [
        "left lung",
        "left-lung",
        "Left lung",
        "/",
        "x" * 80,
        "x" * 80 + "y",
        "label",
        "\u80ba" * 90,
        "a_self",
        "a",
    ]
    methods = ["attention", "self_attention"]
    found = file_names(["p1", "p1_left", "p1_a"], [*labels, "kidney", "left_kidney"], methods)
    assert found["p1", "left lung"] == "p1_left-lung" and found["p1", "left-lung"] == "p1_left-lung-2"
    files = [f"{begin}_{method}".lower() for begin in found.values() for method in methods]
    assert len({*files}) == len(files) and max(len(name.encode()) for name in files) < 120


def test_a_case_that_cannot_be_explained_leaves_the_others_their_page(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    genuine = story.explain

    def but_for_one(model: Model, case: Case, *more: object) -> Iterator[story.Seen]:
        if case.key == "a_first":
            raise DatasetError("case a_first: odd")
        yield from genuine(model, case, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(story, "explain", but_for_one)
    first = model / "in" / "a_first_0000.nii.gz"
    first.write_bytes((model / "in" / "case_0000.nii.gz").read_bytes())
    words = ["explain", str(model / "model.zip"), str(first), str(model / "in" / "case_0000.nii.gz"), *FAST]
    assert main([*words, "-o", str(model / "out"), "--method", "grad_cam", "--label", "organ"]) == 1
    assert "case a_first: odd" in capsys.readouterr().err
    page = (model / "out" / "report.html").read_text(encoding="utf-8")
    assert "case, organ: grad_cam" in page and "Not drawn: case a_first: odd" in page
    assert [one["case"] for one in json.loads((model / "out" / "explained.json").read_text())] == ["case"]
    assert main([*words[:3], "-o", str(model / "none"), *FAST]) == 2 and not (model / "none" / "report.html").exists()
