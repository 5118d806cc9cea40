"""Laws of configurations that depend on one another, and of the networks that a plan builds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.errors import RecordError
from autoseg.parts.inputs import prior
from autoseg.pipeline.plan_and_preprocess import prepared_as
from autoseg.plan import Plan

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
