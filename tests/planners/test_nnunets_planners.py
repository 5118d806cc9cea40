"""Four planners take nnU-Net's decisions: the whole plans file is the same, key by key and number by number.

One exception: where the finest axis is short, nnU-Net's search can end before any halving. It then writes a network of
one stage, which cannot run (its decoder has no output). We go on with the other axes, or leave the configuration out or
refuse the dataset where there is nothing to halve.
"""

from __future__ import annotations

import gzip
import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from autoseg import planners
from autoseg.core.family import Family
from autoseg.errors import PlanningError
from autoseg.interop.nnunet_plans import nnunet_plans, read_fingerprint

# made by benchmarks/oracle_plans.py with nnU-Net v2 2.8.1
STORED = json.loads(gzip.decompress(Path(__file__).with_name("nnunet_plans.json.gz").read_bytes()))
PLANNERS = Family(planners.__name__, "PLANNER")
NAMES = {
    "plain_unet": "ExperimentPlanner",
    "residual_m": "nnUNetPlannerResEncM",
    "residual_l": "nnUNetPlannerResEncL",
    "residual_xl": "nnUNetPlannerResEncXL",
}


def our_plan(folder: Path, entry: dict[str, Any], planner: str) -> dict[str, Any]:
    """In nnU-Net's words."""
    folder = folder / "Dataset001_Random"
    folder.mkdir()
    measured, described = folder / "dataset_fingerprint.json", folder / "dataset.json"
    measured.write_text(json.dumps(entry["fingerprint"]))
    described.write_text(json.dumps(entry["dataset"]))
    dataset, fingerprint = read_fingerprint(measured, described)
    plan = PLANNERS.load(planner).plan(dataset, fingerprint)
    written: dict[str, Any] = json.loads(json.dumps(nnunet_plans(plan, fingerprint)))
    return written


def without_network(plans: dict[str, Any]) -> set[str]:
    """Configurations whose network has a single stage."""
    architectures = {name: found.get("architecture") for name, found in plans["configurations"].items()}
    return {name for name, found in architectures.items() if found and found["arch_kwargs"]["n_stages"] == 1}


SOUND = [index for index, entry in enumerate(STORED) if not any(map(without_network, entry["plans"].values()))]


@pytest.mark.parametrize("planner", NAMES)
@pytest.mark.parametrize("index", SOUND)
def test_every_decision_equals_nnunets(tmp_path: Path, index: int, planner: str) -> None:
    ours, theirs = our_plan(tmp_path, STORED[index], planner), STORED[index]["plans"][NAMES[planner]]
    for name, configuration in theirs["configurations"].items():  # one by one: a shorter message when it fails
        assert ours["configurations"][name] == configuration, name
    assert ours == theirs


@pytest.mark.parametrize("planner", NAMES)
@pytest.mark.parametrize("index", sorted(set(range(len(STORED))) - set(SOUND)))
def test_where_nnunet_plans_a_network_that_cannot_run_we_plan_one_that_can(
    tmp_path: Path, index: int, planner: str
) -> None:
    theirs = STORED[index]["plans"][NAMES[planner]]
    unsound = without_network(theirs)
    try:
        ours = our_plan(tmp_path, STORED[index], planner)
    except PlanningError as error:
        assert "too small for a U-Net" in str(error)
        assert unsound == set(theirs["configurations"])
        return
    assert not without_network(ours)
    for name in set(theirs["configurations"]) - unsound:
        assert ours["configurations"][name] == theirs["configurations"][name], name


def test_the_stored_plans_hold_every_kind_of_dataset() -> None:
    plans = [entry["plans"]["ExperimentPlanner"] for entry in STORED]
    found = [configuration for plan in plans for configuration in plan["configurations"].values()]
    kernels = [found["architecture"]["arch_kwargs"]["kernel_sizes"] for found in found if "architecture" in found]
    assert len(SOUND) >= 200
    assert any("3d_lowres" in plan["configurations"] for plan in plans)
    assert any("3d_fullres" not in plan["configurations"] for plan in plans)
    assert {plan["transpose_forward"][0] for plan in plans} == {0, 1, 2}
    assert any([1, 3, 3] in sizes for sizes in kernels)
    assert {len(plan["foreground_intensity_properties_per_channel"]) for plan in plans} == {1, 2, 3, 4, 5}
    described = [entry["dataset"] for entry in STORED]
    assert {len(dataset["labels"]) for dataset in described} >= set(range(2, 13))
    for regions, ignore in product((False, True), repeat=2):
        assert any(
            ("regions_class_order" in dataset, "ignore" in dataset["labels"]) == (regions, ignore)
            for dataset in described
        )
