"""Laws of configurations that depend on one another, and of the networks that a plan builds."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from autoseg.configuration import Configuration
from autoseg.core.inputs import InputGroup
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.core.records import from_json, to_json
from autoseg.errors import RecordError
from autoseg.parts.augmentations import batchgenerators, none, standard
from autoseg.parts.contracts import Augmentation
from autoseg.parts.inputs import prior
from autoseg.plan import Plan
from autoseg.preprocessing.keys import prepared_as

NAME = "3d_fullres"


def with_earlier(plan: Plan, **previous: str) -> Plan:
    """``plan`` with further configurations, each after the one named."""
    more = {
        name: replace(plan.configurations[NAME], inputs=(prior.Spec(earlier),)) for name, earlier in previous.items()
    }
    return replace(plan, configurations=plan.configurations | more)


def test_an_earlier_stage_comes_first(small_plan: Plan) -> None:
    plan = with_earlier(small_plan, third="second", second=NAME)
    assert plan.stages("third") == (NAME, "second", "third")
    assert plan.stages(NAME) == (NAME,)


def test_a_circle_of_stages_is_refused(small_plan: Plan) -> None:
    plan = with_earlier(small_plan, second="third", third="second")
    with pytest.raises(RecordError, match="a circle"):
        plan.stages("second")


@pytest.mark.parametrize("previous", ["nowhere", "second"])
def test_an_earlier_stage_must_be_another_configuration(small_plan: Plan, previous: str) -> None:
    with pytest.raises(ValueError, match=f"there is no other configuration '{previous}'"):
        with_earlier(small_plan, second=previous)


@pytest.mark.parametrize("slices", [0, 2, -1])
def test_slices_are_odd(small_plan: Plan, slices: int) -> None:
    with pytest.raises(ValueError, match="must be odd"):
        replace(small_plan.configurations[NAME], slices=slices)


def test_slices_are_for_2d(small_plan: Plan) -> None:
    with pytest.raises(ValueError, match="2-D configurations"):
        replace(small_plan.configurations[NAME], slices=3)


def test_configurations_on_the_same_grid_share_their_prepared_cases(small_plan: Plan) -> None:
    plan = with_earlier(small_plan, second=NAME)
    assert prepared_as(plan, "second") == NAME
    coarse = replace(plan.configurations["second"], spacing=(3.0, 3.0, 3.0))
    assert prepared_as(replace(plan, configurations=plan.configurations | {"second": coarse}), "second") == "second"


@pytest.mark.parametrize(
    ("labels", "channels"),
    [
        (ExclusiveLabels({"background": 0, "a": 5, "b": 9}), 2),
        (ExclusiveLabels({"background": 0, "a": 5, "b": 9}, ignore=11), 2),
        (RegionLabels({"whole": (1, 2, 3), "core": (2, 3)}, (1, 2)), 3),
    ],
)
def test_a_cascade_sees_one_channel_per_label_and_none_for_background_or_ignored(
    small_plan: Plan, labels: ExclusiveLabels | RegionLabels, channels: int
) -> None:
    plan = with_earlier(replace(small_plan, labels=labels), second=NAME)
    network = plan.task("second").network()
    seen = []
    network.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    predicted = torch.randint(0, channels + 1, (2, 1, 8, 8, 8)).float()
    images = torch.randn(2, 1, 8, 8, 8)
    network(torch.cat((images, predicted), 1))
    assert seen[0].shape == (2, 1 + channels, 8, 8, 8)
    assert torch.equal(seen[0][:, :1], images)
    for label in range(1, channels + 1):
        assert torch.equal(seen[0][:, label], (predicted[:, 0] == label).float())


def of_before(configuration: Configuration) -> dict[str, Any]:
    """As it was written before inputs had names."""
    value = to_json(configuration)
    (mistakes,) = [part["mistakes"] for part in value["inputs"]] or [to_json(prior.Mistakes())]
    if value["augmentation"]["name"] != "none":
        value["augmentation"]["mistakes"] = mistakes
    return {name: item for name, item in value.items() if name != "inputs"} | {"previous": configuration.previous}


@pytest.mark.parametrize("earlier", [None, "3d_lowres"])
@pytest.mark.parametrize("augmentation", [none.Spec(), standard.Spec(), batchgenerators.Spec()])
def test_a_plan_of_before_means_what_it_did(small_plan: Plan, augmentation: Augmentation, earlier: str | None) -> None:
    """Without augmentation there were no mistakes either."""
    never = prior.Mistakes(change_probability=0.0, removal_probability=0.0)
    mistakes = never if augmentation == none.Spec() else prior.Mistakes(radius=(2.0, 3.0))
    inputs = () if earlier is None else (prior.Spec(earlier, mistakes),)
    configuration = replace(small_plan.configurations[NAME], augmentation=augmentation, inputs=inputs)
    value = of_before(configuration)
    before = json.dumps(value)
    assert from_json(Configuration, value) == configuration
    assert json.dumps(value) == before


@pytest.mark.parametrize("previous", [3, ["3d_lowres"], {"name": "3d_lowres"}])
def test_an_impossible_stage_of_before_is_named(small_plan: Plan, previous: Any) -> None:
    value = of_before(small_plan.configurations[NAME]) | {"previous": previous}
    with pytest.raises(RecordError, match="previous"):
        from_json(Configuration, value)


@dataclass(frozen=True)
class Clicks:
    """An input that needs no earlier stage."""

    previous: None = None

    def group(self, channels: object, labels: object) -> InputGroup:
        return InputGroup("clicks", "heat map", 2)


def test_inputs_that_do_not_fit_together_are_refused(small_plan: Plan) -> None:
    full = small_plan.configurations[NAME]
    with pytest.raises(ValueError, match="at most one may come from an earlier stage"):
        replace(full, inputs=(prior.Spec("a"), prior.Spec("b")))
    with pytest.raises(ValueError, match=f"configurations.{NAME}.inputs: clicks is there twice"):
        replace(small_plan, configurations={NAME: replace(full, inputs=(Clicks(), Clicks()))})
    both = replace(full, inputs=(Clicks(), prior.Spec("3d_lowres")))
    task = replace(small_plan, configurations={NAME: both}).task()
    assert (both.previous, task.inputs.read, task.inputs.seen) == ("3d_lowres", 4, 4)


def test_training_rules_of_before_are_read(small_plan: Plan) -> None:
    record = to_json(small_plan)
    for configuration in record["configurations"].values():
        configuration["training"]["foreground"] = configuration["training"].pop("oversampling")
    assert from_json(Plan, json.loads(json.dumps(record))) == small_plan
