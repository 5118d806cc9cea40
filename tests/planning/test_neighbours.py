"""2.5d is planned where slices lie far apart, or on request, and says why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from autoseg.planners import cpu, plain_unet

from autoseg.core.labels import ExclusiveLabels
from autoseg.core.records import to_json
from autoseg.data.dataset import Case, Dataset
from autoseg.data.fingerprint import CaseFingerprint, Fingerprint, Intensities
from autoseg.errors import UsageError
from autoseg.interop.nnunet_plans import nnunet_plans
from autoseg.plan import Plan
from autoseg.planning.constraints import PlanConstraints
from autoseg.planning.planner import Planner

LABELS = ExclusiveLabels({"background": 0, "organ": 1})
THICK, CUBES = (8.0, 1.0, 1.0), (1.0, 1.0, 1.0)


def planned(
    planner: Planner, spacing: tuple[float, ...], slices: int | None = None, shape: tuple[int, ...] = (12, 200, 200)
) -> tuple[Plan, Fingerprint]:
    case = Case.of_files("a", ("/a.nii.gz",), "/labels/a.nii.gz")
    dataset = Dataset("Dataset001_Made", "/d", ("MR",), LABELS, (case,), ".nii.gz", "nnunet")
    measured = CaseFingerprint(shape, spacing, shape, 1.0, "")
    fingerprint = Fingerprint({"a": measured}, (Intensities(0.0, 0.0, 1.0, -3.0, 3.0, -2.0, 2.0),))
    return planner.plan(dataset, fingerprint, PlanConstraints(slices=slices)), fingerprint


def why(plan: Plan) -> str:
    return next(reason for reason in plan.reasons if reason.startswith("neighbouring slices: "))


@pytest.mark.parametrize(
    ("planner", "spacing", "slices", "found", "said"),
    [
        (cpu.PLANNER, THICK, None, 3, "since slices lie 8 times as far apart"),
        (cpu.PLANNER, THICK, 5, 5, "as you asked"),
        (cpu.PLANNER, THICK, 1, None, "none, as you asked"),
        (cpu.PLANNER, CUBES, None, None, "none, slices lie 1 times as far apart"),
        (cpu.PLANNER, CUBES, 7, 7, "as you asked"),
        (plain_unet.PLANNER, THICK, None, None, "on request only (--slices 3)"),
        (plain_unet.PLANNER, THICK, 3, 3, "as you asked"),
    ],
)
def test_it_is_planned_by_rule_or_on_request(
    planner: Planner, spacing: tuple[float, ...], slices: int | None, found: int | None, said: str
) -> None:
    plan, _ = planned(planner, spacing, slices)
    configuration = plan.configurations.get("2.5d")
    assert (configuration and configuration.slices) == found
    assert said in why(plan)


def test_all_but_the_slices_is_as_in_2d() -> None:
    plan, _ = planned(cpu.PLANNER, THICK)
    seen = replace(plan.configurations["2.5d"], slices=1, reasons=())
    assert seen == replace(plan.configurations["2d"], reasons=())


def test_few_slices_get_none() -> None:
    plan, _ = planned(cpu.PLANNER, THICK, shape=(2, 200, 200))
    assert "2.5d" not in plan.configurations
    assert "fewer than 3" in why(plan)


@pytest.mark.parametrize(
    ("shape", "spacing", "said"),
    [((1, 200, 200), (999.0, 1.0, 1.0), "single slices"), ((60, 7, 7), CUBES, "too small for 2d")],
)
def test_a_request_that_the_images_cannot_fulfil_is_refused(
    shape: tuple[int, ...], spacing: tuple[float, ...], said: str
) -> None:
    assert "2.5d" not in planned(cpu.PLANNER, spacing, shape=shape)[0].configurations
    with pytest.raises(UsageError, match=said):
        planned(cpu.PLANNER, spacing, 3, shape)


@pytest.mark.parametrize("slices", [0, 2, -3])
def test_an_even_number_of_slices_has_no_middle(slices: int) -> None:
    with pytest.raises(UsageError, match="odd"):
        PlanConstraints(slices=slices)


def test_nnunets_plans_leave_it_out_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    plain, fingerprint = planned(plain_unet.PLANNER, THICK)
    wished, _ = planned(plain_unet.PLANNER, THICK, 3)
    assert to_json(nnunet_plans(wished, fingerprint)) == to_json(nnunet_plans(plain, fingerprint))
    assert "2.5d is left out" in caplog.text
