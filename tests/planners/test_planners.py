"""Every planner: plans that hold together, survive JSON, and keep their promises."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg import planners
from autoseg.configuration import StepMemory
from autoseg.core.family import Family
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.records import from_json, to_json
from autoseg.data.dataset import Case, Dataset
from autoseg.data.fingerprint import CaseFingerprint, Fingerprint, Intensities, Structure
from autoseg.errors import PlanningError
from autoseg.plan import Plan
from autoseg.planning.measured import MeasuringPlanner
from autoseg.planning.memory import elements_of_step
from autoseg.planning.target import gpu
from autoseg.task import Task

PLANNERS = Family(planners.__name__, "PLANNER")
NAMES = sorted(PLANNERS)
LABELS = ExclusiveLabels({"background": 0, "a": 1, "b": 2})


def make_plan(planner: str, shape: tuple[int, ...], spacing: tuple[float, ...], cases: int = 40) -> Plan:
    return plan_for(planner, [CaseFingerprint(shape, spacing, shape, 1.0, "")] * cases)


def plan_for(planner: str, cases: Sequence[CaseFingerprint], structures: tuple[Structure, ...] = ()) -> Plan:
    measured = {f"case_{index}": case for index, case in enumerate(cases)}
    listed = tuple(Case.of_files(key, (f"/{key}.nii.gz",), f"/labels/{key}.nii.gz") for key in measured)
    dataset = Dataset("Dataset001_Made", "/d", ("MRI",), LABELS, listed, ".nii.gz", "nnunet")
    task = dataset, Fingerprint(measured, (Intensities(0.0, 0.0, 1.0, -3.0, 3.0, -2.0, 2.0),), structures)
    chosen = PLANNERS.load(planner)
    return chosen.plan(*task, bench=Formula()) if isinstance(chosen, MeasuringPlanner) else chosen.plan(*task)


class Formula:
    """Stands for a GPU of which every step costs so many bytes and seconds per feature map element."""

    target = gpu("a GPU", 8e9, 500e9)

    def memory(self, task: Task) -> StepMemory:
        size = int(5.5 * elements_of_step(task))
        return StepMemory(weights=0, optimizer=0, batch=0, activations=size, peak=size)

    def seconds(self, task: Task) -> tuple[float, None]:
        return elements_of_step(task) / 2e9, None


@pytest.mark.parametrize("name", NAMES)
def test_a_planner_is_named_as_its_file(name: str) -> None:
    assert PLANNERS.load(name).name == name


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(st.tuples(*[st.integers(16, 500)] * 3), st.tuples(*[st.floats(0.3, 6)] * 3))
def test_every_plan_holds_together(name: str, shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    plan = make_plan(name, shape, spacing)
    assert plan.default == "3d_fullres"
    for configuration in plan.configurations.values():
        assert all(edge % step == 0 for edge, step in zip(configuration.patch_size, configuration.network.divisor))
        assert configuration.batch_size >= 2
        assert configuration.network.dimensions == configuration.dimensions
        assert configuration.reasons
        assert (configuration.spacing[0] is None) == (configuration.dimensions == 2)
    assert from_json(Plan, json.loads(json.dumps(to_json(plan)))) == plan


@pytest.mark.parametrize("name", NAMES)
def test_where_labels_outnumber_what_a_patch_holds_one_dice_covers_the_batch_unless_nnunet_plans(name: str) -> None:
    many = tuple(Structure(40, 1e-4, (index / 50, 0.5, 0.5), (1e-4, 1e-4, 1e-4, 0.0, 0.0, 0.0)) for index in range(50))
    case = CaseFingerprint((500, 400, 400), (1.0,) * 3, (500, 400, 400), 1.0, "")
    plans = [plan_for(name, [case] * 40, structures) for structures in ((), many)]
    before, after = ([one.loss.batch_dice for one in plan.configurations.values()] for plan in plans)
    assert False in before  # of 3d_lowres
    assert after == ([True] * len(after) if name in ("cpu", "measured") else before)


@pytest.mark.parametrize("name", NAMES)
def test_slices_alone_get_a_2d_network_only(name: str) -> None:
    plan = make_plan(name, (1, 300, 400), (999.0, 1.0, 1.0))
    assert list(plan.configurations) == [plan.default] == ["2d"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "tiny"])  # whose budget cuts even these
@pytest.mark.parametrize("slices", [2, 3, 5])
def test_of_a_thin_volume_a_patch_sees_every_slice(name: str, slices: int) -> None:
    plan = make_plan(name, (slices, 120, 150), (8.0, 1.0, 1.0))
    assert set(plan.configurations) >= {"3d_fullres", "2d"}
    assert slices <= plan.configurations["3d_fullres"].patch_size[0] <= slices + 4
    assert plan.configurations["3d_fullres"].augmentation.dummy_2d


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("edges", [(9, 17, 19), (12, 12, 12), (8, 30, 30)])
def test_images_smaller_than_any_usual_patch_fit_into_one(name: str, edges: tuple[int, int, int]) -> None:
    patch = make_plan(name, edges, (1.0, 1.0, 1.0)).configurations["3d_fullres"].patch_size
    assert all(edge <= size < edge + 8 for size, edge in zip(patch, edges))


@pytest.mark.parametrize("name", NAMES)
def test_one_case_alone_is_planned_for(name: str) -> None:
    for configuration in make_plan(name, (60, 80, 70), (1.0, 1.0, 1.0), cases=1).configurations.values():
        assert configuration.batch_size >= 2
        assert configuration.training.epochs >= 1


@pytest.mark.parametrize("name", NAMES)
def test_single_slices_among_volumes_do_not_decide_alone(name: str) -> None:
    volume, slice_ = (CaseFingerprint((depth, 64, 64), (5.0, 1.0, 1.0), (depth, 64, 64), 1.0, "") for depth in (20, 1))
    assert plan_for(name, [volume] * 5 + [slice_] * 3).default == "3d_fullres"
    assert plan_for(name, [volume] * 3 + [slice_] * 5).default == "2d"


@pytest.mark.parametrize("name", NAMES)
def test_a_rod_whose_slices_are_too_small_for_a_unet_gets_a_3d_network_only(name: str) -> None:
    assert "2d" not in make_plan(name, (60, 7, 7), (1.0, 1.0, 1.0)).configurations


@pytest.mark.parametrize("name", NAMES)
def test_images_too_small_for_a_unet_are_refused(name: str) -> None:
    with pytest.raises(PlanningError, match="too small for a U-Net"):
        make_plan(name, (6, 7, 6), (1.0, 1.0, 1.0))


def test_cpu_keeps_a_hippocampus_whole() -> None:
    found = make_plan("cpu", (36, 50, 35), (1.0, 1.0, 1.0), cases=200).configurations["3d_fullres"]
    assert (found.patch_size, found.batch_size) == ((40, 56, 40), 2)
    assert found.network.features == (16, 32, 64, 128)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.tuples(*[st.integers(16, 500)] * 3), st.tuples(*[st.floats(0.3, 6)] * 3))
def test_a_step_on_the_cpu_stays_within_its_budget(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    planner = PLANNERS.load("cpu")

    for configuration in make_plan("cpu", shape, spacing).configurations.values():
        flat = configuration.dimensions == 2
        sizes, budget = (planner.unet_2d, planner.budget_2d) if flat else (planner.unet_3d, planner.budget_3d)
        topology = sizes.topology(configuration.spacing[-configuration.dimensions :], configuration.patch_size)
        step = sizes.elements(topology, heads=3) * configuration.batch_size
        assert step <= budget.elements * budget.batch * 1.25  # the batch is rounded


def test_tiny_sees_most_of_the_demos_volumes_at_once() -> None:
    found = make_plan("tiny", (16, 72, 72), (3.0, 1.0, 1.0)).configurations["3d_fullres"]
    assert found.network.features == (12, 24, 48)
    assert 0.8 * 16 * 48 * 48 < math.prod(found.patch_size) < 1.2 * 16 * 48 * 48


def test_flat_patches_are_rotated_within_their_slices() -> None:
    flat = make_plan("plain_unet", (12, 300, 300), (6.0, 1.0, 1.0)).configurations["3d_fullres"].augmentation
    cube = make_plan("plain_unet", (100, 100, 100), (1.0, 1.0, 1.0)).configurations["3d_fullres"].augmentation
    assert (flat.dummy_2d, flat.rotation_degrees) == (True, 180.0)
    assert (cube.dummy_2d, cube.rotation_degrees) == (False, 30.0)


def test_an_empty_dataset_is_refused() -> None:
    with pytest.raises(PlanningError, match="no training cases"):
        make_plan("cpu", (50, 50, 50), (1.0, 1.0, 1.0), cases=0)


def test_planning_needs_neither_torch_nor_scipy() -> None:
    program = (
        "import sys; from autoseg.planners import cpu, measured, plain_unet, residual_xl, tiny; "
        "import autoseg.preprocessing.prepare, autoseg.preprocessing.store; "
        "print({'torch', 'scipy', 'skimage', 'pandas'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "set()\n"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_cascade_is_3d_fullres_after_3d_lowres_and_comes_with_it(name: str) -> None:
    large, small = (make_plan(name, (edge,) * 3, (1.0, 1.0, 1.0)).configurations for edge in (500, 40))
    assert large["3d_cascade_fullres"].previous == "3d_lowres"
    alike = replace(large["3d_cascade_fullres"], inputs=(), reasons=())
    assert alike == replace(large["3d_fullres"], reasons=())
    assert "3d_cascade_fullres" not in small
