"""nnU-Net's plans file becomes our plan, with every decision; what has no counterpart is named."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from autoseg.data import dataset_json
from autoseg.errors import RecordError
from autoseg.interop.nnunet_configurations import read_plan_of, resolved
from autoseg.interop.nnunet_plans import nnunet_plans, read_fingerprint
from autoseg.parts.normalizers import ct, zscore
from autoseg.parts.resamplers import spline
from autoseg.plan import Plan

# made by benchmarks/oracle_plans.py with nnU-Net v2 2.8.1
STORED = json.loads(gzip.decompress((Path(__file__).parents[1] / "planners" / "nnunet_plans.json.gz").read_bytes()))
SOUND = [
    (number, planner)
    for number, entry in enumerate(STORED)
    for planner, plans in entry["plans"].items()
    if all(c.get("architecture", {"arch_kwargs": {"n_stages": 2}})["arch_kwargs"]["n_stages"] > 1
           for c in plans.get("configurations", {"": {"architecture": {"arch_kwargs": {"n_stages": 1}}}}).values())
]  # fmt: skip


def read(plans: dict[str, Any], number: int = 0, only: str | None = None) -> Plan:
    described, where = STORED[number]["dataset"], Path("dataset.json")
    channels, labels = dataset_json.channels_of(described, where), dataset_json.labels_of(described, where)
    return read_plan_of(plans, channels, labels, described["file_ending"], "plans.json", only)


@pytest.mark.parametrize(("number", "planner"), SOUND[::7])
def test_what_is_read_and_written_again_is_the_same_file(number: int, planner: str, tmp_path: Path) -> None:
    entry = STORED[number]
    folder = tmp_path / "Dataset001_Random"
    folder.mkdir()
    (folder / "dataset_fingerprint.json").write_text(json.dumps(entry["fingerprint"]))
    (folder / "dataset.json").write_text(json.dumps(entry["dataset"]))
    _, measured = read_fingerprint(folder / "dataset_fingerprint.json", folder / "dataset.json")
    theirs = entry["plans"][planner]
    assert json.loads(json.dumps(nnunet_plans(read(theirs, number), measured))) == theirs


PLANS = STORED[SOUND[0][0]]["plans"]["ExperimentPlanner"]
TITLE = next(iter(PLANS["configurations"]))


def edited(**changes: Any) -> dict[str, Any]:
    """The first configuration of ``PLANS`` with other settings."""
    plans = copy.deepcopy(PLANS)
    plans["configurations"][TITLE] |= changes
    return plans


def test_a_configuration_inherits_what_it_does_not_say() -> None:
    plans = copy.deepcopy(PLANS)
    plans["configurations"]["child"] = {"inherits_from": TITLE, "batch_size": 7}
    plans["configurations"]["grandchild"] = {"inherits_from": "child", "spacing": [9.0] * len(_patch())}
    plan = read(plans)
    parent, child, grandchild = (plan.configurations[title] for title in (TITLE, "child", "grandchild"))
    assert (child.batch_size, child.patch_size, child.network) == (7, parent.patch_size, parent.network)
    assert (grandchild.batch_size, grandchild.spacing[-1]) == (7, 9.0)


def _patch() -> list[int]:
    patch: list[int] = PLANS["configurations"][TITLE]["patch_size"]
    return patch


def test_a_circle_of_inheritance_and_a_missing_parent_are_named() -> None:
    plans = edited(inherits_from="b")
    plans["configurations"]["b"] = {"inherits_from": TITLE}
    with pytest.raises(RecordError, match="a circle"):
        resolved(plans, TITLE, "plans.json")
    with pytest.raises(RecordError, match="inherits from 'nowhere'"):
        resolved(edited(inherits_from="nowhere"), TITLE, "plans.json")


def test_a_cascade_keeps_its_earlier_stage() -> None:
    plans = copy.deepcopy(PLANS)
    plans["configurations"] |= {
        "low": {"inherits_from": TITLE, "next_stage": "high"},
        "high": {"inherits_from": TITLE, "previous_stage": "low"},
    }
    assert read(plans).configurations["high"].previous == "low"
    assert list(read(plans, only="high").configurations) == ["low", "high"]


def old(settings: dict[str, Any]) -> dict[str, Any]:
    """A configuration in the words of nnU-Net before 2.4."""
    settings = copy.deepcopy(settings)
    arguments = settings.pop("architecture")["arch_kwargs"]
    return settings | {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": arguments["features_per_stage"][0],
        "unet_max_num_features": max(arguments["features_per_stage"]),
        "n_conv_per_stage_encoder": arguments["n_conv_per_stage"],
        "n_conv_per_stage_decoder": arguments["n_conv_per_stage_decoder"],
        "num_pool_per_axis": [1] * len(settings["patch_size"]),
        "pool_op_kernel_sizes": arguments["strides"],
        "conv_kernel_sizes": arguments["kernel_sizes"],
    }


def test_old_plans_mean_the_same_as_new_ones() -> None:
    plans = copy.deepcopy(PLANS)
    plans["configurations"] = {
        title: settings if "inherits_from" in settings else old(settings)
        for title, settings in plans["configurations"].items()
    }
    by_modality = plans.pop("foreground_intensity_properties_per_channel")
    plans["foreground_intensity_properties_by_modality"] = by_modality
    assert read(plans) == read(PLANS)


def test_every_normalisation_is_read() -> None:
    names = ["CTNormalization", "ZScoreNormalization", "NoNormalization", "RescaleTo01Normalization"]
    statistics = PLANS["foreground_intensity_properties_per_channel"]
    for name in (*names, "RGBTo01Normalization"):
        plan = read(edited(normalization_schemes=[name] * len(statistics), use_mask_for_norm=[True] * len(statistics)))
        part = plan.configurations[TITLE].normalizers[0]
        if name == "CTNormalization":
            first = statistics["0"]
            values = (first["mean"], first["std"], first["percentile_00_5"], first["percentile_99_5"])
            assert part == ct.Spec(*values)
        if name == "ZScoreNormalization":
            assert part == zscore.Spec(mask=True)


@pytest.mark.parametrize(
    ("forced", "spacing", "axis"),
    [(None, (3.5, 1.0, 1.0), 0), (None, (2.5, 1.0, 1.0), None), (True, (2.5, 1.0, 1.0), 0), (True, (1.0,) * 3, None),
     (False, (9.0, 1.0, 1.0), None)],
)  # fmt: skip
def test_slices_stand_alone_where_nnunet_says_so(
    forced: bool | None, spacing: tuple[float, float, float], axis: int | None
) -> None:
    changes = {
        f"resampling_fn_{what}_kwargs": PLANS["configurations"][TITLE][f"resampling_fn_{what}_kwargs"]
        | {"force_separate_z": forced}
        for what in ("data", "seg", "probabilities")
    }
    resampler = read(edited(**changes)).configurations[TITLE].resampler
    assert resampler.separate_axis(spacing, (1.0, 1.0, 1.0)) == axis


def test_resampling_with_torch_is_linear() -> None:
    changes: dict[str, Any] = {}
    for what in ("data", "seg", "probabilities"):
        changes[f"resampling_fn_{what}"] = "resample_torch_fornnunet"
        changes[f"resampling_fn_{what}_kwargs"] = {"is_seg": what == "seg", "force_separate_z": False}
    assert read(edited(**changes)).configurations[TITLE].resampler == spline.Spec(1, 1, 1, 0, 1e9)


def network(**changes: Any) -> dict[str, Any]:
    described = copy.deepcopy(PLANS["configurations"][TITLE]["architecture"])
    described["arch_kwargs"] |= changes
    return {"architecture": described}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"normalization_schemes": ["MyNormalization"] * 4}, "MyNormalization"),
        ({"normalization_schemes": ["NoNormalization"]}, "1 normalization_schemes"),
        ({"use_mask_for_norm": [False]}, "1 use_mask_for_norm for 4 channels"),
        ({"resampling_fn_data": "my_resampling"}, "my_resampling"),
        ({"resampling_fn_seg_kwargs": {"order": 1, "order_z": 1}}, "thick slices differently"),
        ({"architecture": {"network_class_name": "os.system", "arch_kwargs": {}}}, "'os.system' is not known"),
        ({"architecture": {"network_class_name": "my.PlainConvUNet", "arch_kwargs": {}}}, "is not known"),
        (network(norm_op="torch.nn.modules.batchnorm.BatchNorm3d"), "norm_op"),
        (network(norm_op_kwargs={"eps": 1e-3, "affine": True}), "norm_op_kwargs"),
        (network(nonlin="torch.nn.ReLU"), "nonlin"),
        (network(conv_bias=False), "conv_bias"),
        (network(squeeze_excitation=True), "squeeze_excitation"),
        (network(n_stages=2), "stages"),
        ({"batch_size": "two"}, "batch_size must be a int"),
        ({"patch_size": None}, "patch_size must be a list"),
    ],
)
def test_what_has_no_counterpart_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordError, match=said):
        read(edited(**changes), only=TITLE)


def test_a_network_may_say_what_nnunet_takes_anyway() -> None:
    explicit = network(nonlin_kwargs={"negative_slope": 0.01, "inplace": True}, deep_supervision=True)
    assert read(edited(**explicit)) == read(PLANS)


def test_one_number_stands_for_all_stages() -> None:
    arguments = PLANS["configurations"][TITLE]["architecture"]["arch_kwargs"]
    stages, axes = arguments["n_stages"], len(_patch())
    spelt = network(n_conv_per_stage=[2] * stages, n_conv_per_stage_decoder=[1] * (stages - 1),
                    kernel_sizes=[[3] * axes] * stages)  # fmt: skip
    short = network(n_conv_per_stage=2, n_conv_per_stage_decoder=1, kernel_sizes=3)
    assert read(edited(**short)) == read(edited(**spelt))


def test_other_configurations_stay_usable(caplog: pytest.LogCaptureFixture) -> None:
    plans = copy.deepcopy(PLANS)
    plans["configurations"]["odd"] = {"inherits_from": TITLE, "resampling_fn_data": "my_resampling"}
    plans["configurations"]["after_odd"] = {"inherits_from": TITLE, "previous_stage": "odd"}
    assert set(read(plans).configurations) == set(read(PLANS).configurations)
    assert "my_resampling" in caplog.text
    assert "after_odd needs odd" in caplog.text


@pytest.mark.parametrize("reader", ["NibabelIOWithReorient", "SimpleITKIOWithReorient"])
def test_a_reader_that_turns_images_gives_the_plan_an_orientation(reader: str) -> None:
    assert read(PLANS | {"image_reader_writer": reader}).orientation == "RAS"
    assert read(PLANS).orientation is None
