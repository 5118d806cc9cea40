"""The plain_unet planner takes nnU-Net's decisions, number for number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from autoseg.planners.plain_unet import PLANNER

from autoseg.core.labels import ExclusiveLabels
from autoseg.dataset import Case, Dataset
from autoseg.fingerprint import CaseFingerprint, Fingerprint, Intensities
from autoseg.plan import NORMALIZERS, Configuration, Plan

# made by benchmarks/oracle_plans.py with nnU-Net v2 2.8.1
PAIRS = json.loads(Path(__file__).with_name("nnunet_plans.json").read_text())
NAMES = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale",
    "RGBTo01Normalization": "rgb",
}


def our_plan(measured: dict[str, Any]) -> Plan:
    keys = [f"case_{index}" for index in range(len(measured["shapes"]))]
    names = {"background": 0} | {f"label_{value}": value for value in range(1, measured["labels"])}
    labels = ExclusiveLabels(names, ignore=measured["labels"] if measured["ignore"] else None)
    cases = tuple(Case(key, (f"/{key}.nii.gz",), f"/labels/{key}.nii.gz") for key in keys)
    dataset = Dataset("d", "/d", tuple(measured["channels"]), labels, cases, ".nii.gz", "nnunet")
    cropped = measured["cropped"]
    fingerprint = Fingerprint(
        {
            key: CaseFingerprint(tuple(shape), tuple(spacing), tuple(shape), cropped, "")
            for key, shape, spacing in zip(keys, measured["shapes"], measured["spacings"])
        },
        (Intensities(1.0, 1.0, 1.0, 0.0, 2.0, 0.0, 2.0),) * len(measured["channels"]),
    )
    return PLANNER.plan(dataset, fingerprint)


def in_nnunets_words(configuration: Configuration) -> dict[str, Any]:
    network = configuration.network
    return {
        "patch_size": list(configuration.patch_size),
        "batch_size": configuration.batch_size,
        "spacing": pytest.approx([value for value in configuration.spacing if value is not None], rel=1e-9),
        "normalization_schemes": [NORMALIZERS.name_of(part) for part in configuration.normalizers],
        "use_mask_for_norm": [getattr(part, "mask", False) for part in configuration.normalizers],
        "batch_dice": configuration.loss.batch_dice,
        "features_per_stage": list(network.features),
        "kernel_sizes": [list(kernel) for kernel in network.kernels],
        "strides": [list(stride) for stride in network.strides],
        "n_conv_per_stage": list(network.blocks_encoder),
        "n_conv_per_stage_decoder": list(network.blocks_decoder),
    }


@pytest.mark.parametrize("index", range(len(PAIRS)))
def test_every_decision_equals_nnunets(index: int) -> None:
    expected = PAIRS[index]["plan"]
    plan = our_plan(PAIRS[index]["fingerprint"])
    assert list(plan.axis_order) == expected["transpose"]
    assert sorted(plan.configurations) == sorted(expected["configurations"])
    for name, theirs in expected["configurations"].items():
        theirs["normalization_schemes"] = [NAMES[scheme] for scheme in theirs["normalization_schemes"]]
        assert theirs == in_nnunets_words(plan.configurations[name]), name


def test_the_stored_plans_hold_every_kind_of_dataset() -> None:
    plans = [pair["plan"] for pair in PAIRS]
    assert any("3d_lowres" in plan["configurations"] for plan in plans)
    assert any("3d_fullres" not in plan["configurations"] for plan in plans)
    assert {plan["transpose"][0] for plan in plans} == {0, 1, 2}
    assert any(plan["configurations"]["2d"]["batch_size"] > 12 for plan in plans)
    assert any(
        [1, 3, 3] in plan["configurations"].get("3d_fullres", {"kernel_sizes": []})["kernel_sizes"] for plan in plans
    )
