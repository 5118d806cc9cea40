"""Bundles by strangers that hold what several modalities bring: a sentence, or a model that predicts."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from modal_plan import CHANNELS, modal_plan
from safetensors.torch import save
from strangers import SHAPE, SMALL, Entries, mended, places, survived, unpacked, with_json, zipped
from tasks import task_of

from autoseg.bundle.manifest import CrossValidation, Manifest
from autoseg.bundle.write import write_bundle
from autoseg.core.estimate import Estimate
from autoseg.core.geometry import Image
from autoseg.plan import Plan

LARGE = 10**9
HOSTILE = [
    None, True, 0, -1, 1, 2, 97, 10**5, LARGE, 2**62, -(2**63), 0.5, -0.5, 1e-300, 1e300, "", "x", "../../evil",
    "/etc/passwd", "a\0b", "x" * 100_000, "\x1b[2J", "\ud800", "T1", [], {}, [[]], [None], [0] * 1000, [0, 0],
    [[0], [0, 1]], [["T1"] * 1000] * 100, [LARGE] * 3, {"name": "os.path"}, {"name": "n4"}, {"T1": 1.0}, {"": 0},
]  # fmt: skip
SEED, SAMPLED = 11, 60
IMAGE = Image(np.concatenate([SMALL.array, SMALL.array[:, ::-1]]).astype(np.float32), SMALL.geometry)


@pytest.fixture
def entries(small_plan: Plan, tmp_path: Path) -> Entries:
    """An encoder for each modality and a network of one of them, weighed by label, with all that plans may say."""
    plan = modal_plan(small_plan)
    torch.manual_seed(0)
    weights = {
        name: {"0": save(task_of(plan, one).network().state_dict())} for name, one in plan.configurations.items()
    }
    score = Estimate(0.9, 0.8, 1.0, 5)
    manifest = Manifest(
        "Small",
        {name: ("0",) for name in weights},
        dict.fromkeys(weights, 0.5),
        scores=CrossValidation({"dice": score}, {"lung": {"dice": score}}, ("0",), {"T1": {"dice": score}}),
        label_weights={"middle": (0.25, 0.75), "alone": (0.75, 0.25)},
    )
    write_bundle(tmp_path / "author" / "good.zip", manifest, plan, weights)
    return unpacked(tmp_path / "author" / "good.zip")


def ends(entries: Entries, folder: Path, name: str, place: tuple[Any, ...], new: Any) -> str:
    """How it ends when a value in a JSON file of the good bundle is another one."""

    def change(value: Any) -> None:
        for key in place[:-1]:
            value = value[key]
        value[place[-1]] = new

    return survived(zipped(folder / "stranger.zip", with_json(entries, name, change)), folder / "models", IMAGE)


@pytest.mark.slow
def test_the_good_bundle_predicts(entries: Entries, tmp_path: Path) -> None:
    assert IMAGE.array.shape == (len(CHANNELS), *SHAPE)
    assert survived(zipped(tmp_path / "stranger.zip", entries), tmp_path / "models", IMAGE) == "predicts"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.json", "plan.json"])
def test_any_value_may_be_anything(entries: Entries, tmp_path: Path, name: str) -> None:
    good, chance = json.loads(entries[name]), random.Random(SEED)
    where = [place for place in places(good) if place[0] != "files"]
    for number in range(SAMPLED):
        place, new = chance.choice(where), chance.choice(HOSTILE)
        value = copy.deepcopy(good)
        inside = value
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = new
        changed = entries | {name: json.dumps(value).encode()}
        changed = changed if name == "model.json" else mended(changed)
        survived(zipped(tmp_path / f"stranger{number}.zip", changed), tmp_path / "models", IMAGE)


MIDDLE = ("configurations", "middle")


@pytest.mark.parametrize(
    ("place", "new", "said"),
    [
        (("alignment", "reference"), 2, "alignment.reference"),
        (("alignment", "method"), "../x", "method must be one of"),
        (("channel_sources", 1, "file"), 10**6, "file must be at most"),
        (("channel_sources", 1, "volume"), 10**9, "volume must be at most"),
        (("channel_sources",), [{"file": 0, "volume": None}] * 5000, "5000 entries for 2 channels"),
        (("labels", "masks"), ["../../evil", "b"], "cannot be the name of a file"),
        (("labels", "masks"), ["/etc/passwd", "b"], "cannot be the name of a file"),
        (("labels", "masks"), [f"m{number}" for number in range(10_000)], "at most 16"),
        (("labels", "masks"), ["a"], "shape|head|weights"),
        (("fusion", "groups"), [["T1"], ["PD"]], "no channel 'PD'"),
        ((*MIDDLE, "network", "groups"), [[0]] * 10_000, "encoders"),
        ((*MIDDLE, "network", "groups"), [[0, 0], [1]], "in one group"),
        ((*MIDDLE, "network", "features"), [10**7, 10**7], "features|GB of memory"),
        ((*MIDDLE, "missing", "rates"), {"PD": 0.5}, "no channel 'PD'"),
        ((*MIDDLE, "missing", "rates"), {"FLAIR": 7}, "from 0 to 1"),
        ((*MIDDLE, "filters"), [[{"name": "n4", "control_points": 16, "iterations": [1] * 6}], []], "cells"),
        ((*MIDDLE, "filters"), [[{"name": "n4"}] * 9, []], "a channel may have"),
        ((*MIDDLE, "filters"), [[{"name": "os.path"}], []], "not a part of autoseg"),
        (("configurations", "alone", "channels"), [0, 0], "each once"),
        (("configurations", "alone", "channels"), [7], "counted from 0"),
    ],
)
def test_absurd_plans_are_refused_before_anything_is_allocated(
    entries: Entries, tmp_path: Path, place: tuple[Any, ...], new: Any, said: str
) -> None:
    found = ends(entries, tmp_path, "plan.json", place, new)
    assert any(each in found for each in said.split("|")), found


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"middle": [0.5, 0.5]}, "one weight for each head of every configuration"),
        ({"middle": [1.5, 0.5], "alone": [-0.5, 0.5]}, "must not be below 0"),
        ({"middle": [0.5], "alone": [0.5]}, "has weights for 1 labels, the plan has 2"),
        ({"middle": [0.5] * 10**5, "alone": [0.5] * 10**5}, "holds more than 50000 values"),
        ({"middle": [1e300, 0.5], "alone": [-1e300, 0.5]}, "must not be below 0"),
        ({"../x": [0.5, 0.5], "alone": [0.5, 0.5]}, "one weight for each head of every configuration"),
    ],
)
def test_absurd_weights_by_label_are_refused(entries: Entries, tmp_path: Path, weights: Any, said: str) -> None:
    assert said in ends(entries, tmp_path, "model.json", ("label_weights",), weights)


def test_a_file_of_a_stranger_leaves_no_mask_outside(entries: Entries, tmp_path: Path) -> None:
    """Names of masks become names of files: those that lead elsewhere never reach prediction."""
    for name in ("..", "a/../../b", "\\\\server\\x", "a\0b", ".hidden", "con", "x" * 61, "a\x1b[2J", ""):
        found = ends(entries, tmp_path, "plan.json", ("labels", "masks"), [name, "b"])
        assert found != "predicts", name


@pytest.mark.slow
def test_scores_of_subsets_are_only_told(entries: Entries, tmp_path: Path) -> None:
    score = Estimate(0.9, 0.8, 1.0, 5)
    row = {"dice": {"mean": score.mean, "low": score.low, "high": score.high, "cases": score.cases}}
    many = {f"\x1b[2J{number} + FLAIR" * 20: row for number in range(2000)}
    found = ends(entries, tmp_path, "model.json", ("scores", "subsets"), many)
    assert found == "predicts" or "model.json" in found


@pytest.mark.slow
def test_scores_of_subsets_may_lack_a_dice(entries: Entries, tmp_path: Path) -> None:
    assert ends(entries, tmp_path, "model.json", ("scores", "subsets"), {"T1": {}}) == "predicts"


def test_an_interval_has_both_ends(entries: Entries, tmp_path: Path) -> None:
    half = {"T1": {"dice": {"mean": 0.5, "low": 0.4, "high": None, "cases": 3}}}
    assert "both ends or none" in ends(entries, tmp_path, "model.json", ("scores", "subsets"), half)


@pytest.mark.slow
def test_a_plan_may_name_fewer_filters_than_before(entries: Entries, tmp_path: Path, small_plan: Plan) -> None:
    plan = modal_plan(small_plan)
    assert replace(
        plan, configurations={"middle": replace(plan.configurations["middle"], filters=())}, default="middle"
    )
    assert ends(entries, tmp_path, "plan.json", (*MIDDLE, "filters"), []) == "predicts"
