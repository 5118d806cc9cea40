"""A model written for nnU-Net and imported again is the same model; what nnU-Net lacks is named."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from autoseg.bundle.bundle import Bundle
from autoseg.bundle.manifest import Correction, Manifest
from autoseg.bundle.write import write_bundle
from autoseg.cli import main
from autoseg.core.inputs import InputGroup
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.errors import ModelError, RecordError
from autoseg.interop.nnunet_export import dataset_json, export_nnunet
from autoseg.interop.nnunet_model import import_nnunet
from autoseg.parts.inputs import prior
from autoseg.parts.networks import plain_unet, residual_unet
from autoseg.parts.normalizers import ct, none, rescale, rgb, zscore
from autoseg.parts.postprocessors import largest_component, minimum_size
from autoseg.parts.resamplers import spline
from autoseg.plan import Plan

TITLE = "3d_fullres"
REGIONS = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2), ignore=3)


def bundled(plan: Plan, folder: Path, postprocessing: tuple[Correction, ...] = ()) -> Bundle:
    """Every configuration of ``plan`` with random weights of two folds."""
    folds = ("0", "1")
    weights = {
        title: {
            fold: save({name: torch.randn_like(w) for name, w in plan.task(title).network().state_dict().items()})
            for fold in folds
        }
        for title in plan.configurations
    }
    last = list(plan.configurations)[-1]
    manifest = Manifest("m", dict.fromkeys(weights, folds), {last: 1.0}, postprocessing, licence="CC0", citation="Doe")
    return write_bundle(folder / "m", manifest, plan, weights)


def there_and_back(bundle: Bundle, folder: Path) -> Bundle:
    return import_nnunet(export_nnunet(bundle, bundle.manifest, folder / "theirs")[-1], folder / "back")


def variants(plan: Plan) -> dict[str, Plan]:
    """Plans that differ from one another in what nnU-Net must be told."""
    plan = replace(plan, labels=ExclusiveLabels({"background": 0, "organ": 1, "lesion": 2}))
    full = plan.configurations[TITLE]
    plain = full.network
    flat = replace(
        full,
        spacing=(None, 1.5, 2.0),
        patch_size=(16, 8),
        network=plain_unet.Spec((4, 8), ((3, 3),) * 2, ((1, 1), (2, 2)), (1, 2), (1,)),
    )
    residual = residual_unet.Spec(plain.features, plain.kernels, plain.strides, (1, 2), (1,))
    statistics = ct.Spec(1.0, 2.0, -3.0, 4.0)
    many = (statistics, zscore.Spec(mask=True), none.Spec(), rescale.Spec(), rgb.Spec())
    only = {TITLE: full}
    return {
        "plain": plan,
        "residual": replace(plan, configurations={TITLE: replace(full, network=residual)}),
        "flat": replace(plan, configurations={"2d": flat}, default="2d", mirror_axes=(1,)),
        "unmirrored": replace(plan, mirror_axes=()),
        "regions": replace(plan, labels=REGIONS),
        "ignore": replace(plan, labels=replace(plan.labels, ignore=3)),
        "channels": replace(
            plan, channels=("CT", "b", "c", "d", "e"), configurations={TITLE: replace(full, normalizers=many)}
        ),
        "resampler": replace(
            plan, configurations={TITLE: replace(full, resampler=spline.Spec(1, 0, 3, 1, anisotropy=1e9))}
        ),
        "orientation": replace(plan, orientation="RAS", file_ending=".mha"),
        "thresholds": replace(plan, configurations={TITLE: replace(full, resampler=spline.Spec(anisotropy=2.5))}),
        "cascade": replace(plan, configurations=only | {"next": replace(full, inputs=(prior.Spec(TITLE),))}),
    }


@pytest.mark.parametrize("name", [
    "plain", "residual", "flat", "orientation", "unmirrored", "regions", "ignore", "channels", "resampler",
    "thresholds", "cascade",
])  # fmt: skip
def test_the_way_there_and_back_changes_nothing(name: str, small_plan: Plan, tmp_path: Path) -> None:
    plan = variants(small_plan)[name]
    bundle = bundled(plan, tmp_path)
    back = there_and_back(bundle, tmp_path)
    assert back.manifest.configurations == bundle.manifest.configurations
    assert back.manifest.ensemble == bundle.manifest.ensemble
    for what in ("dataset", "axis_order", "channels", "labels", "file_ending", "mirror_axes", "orientation"):
        assert getattr(back.plan, what) == getattr(plan, what)
    for title, configuration in plan.configurations.items():
        for what in ("spacing", "patch_size", "batch_size", "normalizers", "resampler", "network", "loss", "previous"):
            assert getattr(back.plan.configurations[title], what) == getattr(configuration, what)
        for fold in ("0", "1"):
            ours, theirs = load(bundle.weights(title, fold)), load(back.weights(title, fold))
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_command_says_how_to_predict(small_plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = bundled(variants(small_plan)["plain"], tmp_path)
    assert main(["export", str(bundle.path), "--format", "nnunet", "-o", str(tmp_path / "theirs"), "-f", "1"]) == 0
    (folder,) = (tmp_path / "theirs").iterdir()
    assert f"nnUNetv2_predict_from_modelfolder -m {folder} -f 1 -i IN -o OUT" in capsys.readouterr().out
    assert [path.name for path in folder.glob("fold_*")] == ["fold_1"]
    described = json.loads((folder / "dataset.json").read_text())
    assert (described["licence"], described["reference"]) == ("CC0", "Doe")


def test_values_that_nnunet_cannot_have_are_renumbered_and_said(
    small_plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The small plan has the values 0 and 7."""
    back = there_and_back(bundled(small_plan, tmp_path), tmp_path)
    assert back.plan.labels == ExclusiveLabels({"background": 0, "organ": 1})
    assert "nnU-Net will write [0, 1] for [0, 7]" in caplog.text


STEPS = (
    Correction(None, largest_component.Spec()),
    Correction("organ", minimum_size.Spec(30.0)),
    Correction("lesion", largest_component.Spec()),
)


def test_postprocessing_goes_along_as_far_as_nnunet_knows_it(
    small_plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    back = there_and_back(bundled(variants(small_plan)["plain"], tmp_path, STEPS), tmp_path)
    assert back.manifest.postprocessing == (STEPS[0], STEPS[2])
    assert "1 of 3 corrections are not known to nnU-Net" in caplog.text


def test_what_a_region_loses_is_the_same_there_or_said(
    small_plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    steps = (Correction("whole", largest_component.Spec()), Correction("core", largest_component.Spec(), clears=True))
    plan = variants(small_plan)["regions"]
    back = there_and_back(bundled(plan, tmp_path, steps), tmp_path)
    assert back.manifest.postprocessing == (Correction(None, largest_component.Spec()), steps[1])
    assert "makes it background" not in caplog.text
    within = bundled(plan, tmp_path / "ours", (replace(steps[1], clears=False),))
    export_nnunet(within, within.manifest, tmp_path / "other")
    assert "what core loses stays whole here; nnU-Net makes it background" in caplog.text


def test_the_pickled_postprocessing_is_nnunets_function(
    small_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded where there is such a module, as nnU-Net loads it."""
    name = "remove_all_but_largest_component_from_segmentation"
    module: Any = ModuleType("nnunetv2.postprocessing.remove_connected_components")
    setattr(module, name, lambda: None)
    for part in ("nnunetv2", "nnunetv2.postprocessing"):
        monkeypatch.setitem(sys.modules, part, ModuleType(part))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    bundle = bundled(variants(small_plan)["plain"], tmp_path, STEPS)
    (folder,) = export_nnunet(bundle, bundle.manifest, tmp_path / "theirs")
    content = (folder / "crossval_results_folds_0_1" / "postprocessing.pkl").read_bytes()
    functions, arguments = pickle.loads(content)
    assert functions == [getattr(module, name)] * 2
    assert arguments == [{"labels_or_regions": [1, 2]}, {"labels_or_regions": [2]}]


def test_another_network_is_named_and_nothing_is_written(small_plan: Plan, tmp_path: Path) -> None:
    class Spec(SimpleNamespace):
        """Of a part that nnU-Net does not have."""

    full = small_plan.configurations[TITLE]
    odd = replace(small_plan, configurations={TITLE: replace(full, network=Spec(divisor=(1, 1, 1), features=(4,)))})
    with pytest.raises(RecordError, match="nnU-Net has no counterpart of"):
        export_nnunet(SimpleNamespace(plan=odd), Manifest("m", {TITLE: ("0",)}, {TITLE: 1.0}), tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()


def test_an_input_that_nnunet_does_not_have_is_refused(small_plan: Plan, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Spec:
        previous: None = None

        def group(self, channels: object, labels: object) -> InputGroup:
            return InputGroup("clicks", "heat map", 1)

    full = replace(small_plan.configurations[TITLE], inputs=(Spec(),))
    plan = SimpleNamespace(plan=replace(small_plan, configurations={TITLE: full}))
    with pytest.raises(RecordError, match=r"nnU-Net has no counterpart of .*it knows prior"):
        export_nnunet(plan, Manifest("m", {TITLE: ("0",)}, {TITLE: 1.0}), tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()


def test_nothing_is_replaced(small_plan: Plan, tmp_path: Path) -> None:
    bundle = bundled(small_plan, tmp_path)
    with pytest.raises(ModelError, match="exists already"):
        export_nnunet(bundle, bundle.manifest, tmp_path)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (REGIONS, {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}),
        (
            ExclusiveLabels({"b": 9, "background": 0, "a": 4}, ignore=255),
            {"background": 0, "a": 1, "b": 2, "ignore": 3},
        ),
        (ExclusiveLabels({"background": 5, "a": 0}), {"background": 0, "a": 1}),
    ],
)
def test_labels_in_nnunets_words(labels: Labels, expected: dict[str, Any], small_plan: Plan) -> None:
    described = dataset_json(labels, small_plan, Manifest("m", {TITLE: ("0",)}, {TITLE: 1.0}))
    assert described["labels"] == expected


def test_regions_need_the_background_0(small_plan: Plan) -> None:
    odd = replace(REGIONS, background=7)
    with pytest.raises(RecordError, match="is 7"):
        dataset_json(odd, small_plan, Manifest("m", {TITLE: ("0",)}, {TITLE: 1.0}))
