"""What a person reads about a plan is what the plan holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from autoseg.planners import cpu, plain_unet, residual_l

from autoseg.core.labels import ExclusiveLabels
from autoseg.data.dataset import Case, Dataset
from autoseg.data.fingerprint import CaseFingerprint, Fingerprint, Intensities
from autoseg.plan import Plan
from autoseg.planning.constraints import NO_CONSTRAINTS, PlanConstraints
from autoseg.planning.explain import WIDTH, comparison, explanation
from autoseg.planning.planner import Planner

LABELS = ExclusiveLabels({"background": 0, "left_x": 1, "right_x": 2})
ANY = Intensities(40.0, 41.0, 20.0, -900.0, 900.0, -81.5, 210.0)


def planned(
    planner: Planner = plain_unet.PLANNER,
    *,
    shape: tuple[int, int, int] = (40, 250, 250),
    spacing: tuple[float, float, float] = (5.0, 0.75, 0.75),
    constraints: PlanConstraints = NO_CONSTRAINTS,
    fraction: float = 0.4,
) -> Plan:
    keys = [f"case_{index}" for index in range(10)]
    cases = tuple(Case.of_files(key, (f"/{key}.nii.gz",), f"/labels/{key}.nii.gz") for key in keys)
    dataset = Dataset("Dataset001_Made", "/d", ("CT", "T1"), LABELS, cases, ".nii.gz", "nnunet")
    measured = CaseFingerprint(shape, spacing, shape, fraction, "", left_right=2)
    return planner.plan(dataset, Fingerprint(dict.fromkeys(keys, measured), (ANY, ANY)), constraints)


def words(text: str) -> str:
    """Without line breaks."""
    return " ".join(text.split())


@pytest.mark.parametrize(
    "said",
    [
        "Dataset001_Made, planned by plain_unet",
        "spacing 5 x 0.75 x 0.75 mm: the median of 10 cases; along the third axis (z), coarse (5 mm) and short, their "
        "10th percentile",
        "anisotropy coarse slices: slices lie 6.67 times as far apart",
        "channel CT one scale for all images, since it is CT: clipped to -81.5..210",
        "channel T1 z-score over the nonzero region of each image (cropping to nonzero keeps 40% of the voxels",
        "mirroring along the third axis (z), second axis (y) of the files, not along the first axis (x): left_x and "
        "right_x are mirror images by their names (the first axis (x) is",
        "low resolution none, a patch has",
        "then cut to ",
        "of 560.0 million feature map elements allowed at batch 2",
        "batch 2, ",
        "training 1000 epochs of 250 iterations",
        "3d_fullres (taken unless",
    ],
)
def test_every_decision_is_told_with_its_numbers(said: str) -> None:
    assert said in words(explanation(planned()))


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (
            planned(constraints=PlanConstraints(spacing=(1.0, 1.0, 4.0))),
            "axis order first axis (x), third axis (z), second axis (y) of the files: the coarsest, with 4 mm, comes",
        ),
        (planned(constraints=PlanConstraints(spacing=(1.0, 1.0, 4.0))), "4 x 1 x 1 mm: as you asked"),
        (
            planned(constraints=PlanConstraints(mirror=(0,))),
            "along the third axis (z) of the files, as you asked; otherwise it would be not along the first axis (x)",
        ),
        (planned(cpu.PLANNER), "mirroring along no axis, this planner never mirrors"),
        (planned(shape=(400, 400, 400), spacing=(1.0, 1.0, 1.0)), "low resolution 3d_lowres, since a patch has only"),
        (planned(shape=(400, 400, 400), spacing=(1.0, 1.0, 1.0)), "the finest grid, in steps of 3%, of which a patch"),
        (planned(shape=(1, 400, 400)), "low resolution none, the images are single slices"),
        (planned(shape=(80, 80, 80), spacing=(1.0, 1.0, 1.0)), "which fits the budget"),
        (planned(fraction=0.9), "z-score over each whole image (cropping to nonzero keeps 90%"),
    ],
)
def test_other_data_other_reasons(plan: Plan, said: str) -> None:
    assert said in words(explanation(plan))


def test_a_cut_names_the_axis_of_the_file_that_lies_there_and_not_the_networks() -> None:
    plan = planned(shape=(250, 250, 20), constraints=PlanConstraints(spacing=(1.0, 1.0, 4.0)))
    assert plan.axis_order == (2, 0, 1)
    reason = next(text for text in plan.configurations["3d_fullres"].reasons if text.startswith("patch: "))
    _, edge, _ = plan.configurations["3d_fullres"].patch_size
    assert f"{edge} of " in reason and "along the third axis (z)" in reason and "the first axis (x)" not in reason


def test_an_explanation_fits_the_screen() -> None:
    assert max(map(len, explanation(planned()).splitlines())) <= WIDTH


def rows(table: str) -> dict[str, str]:
    """Mark and cells of the rows up to the second section, by name."""
    lines = table.split("\n\n2d")[0].splitlines()
    return {line[2:].split()[0]: line[0] for line in lines if line[:2] in ("  ", "* ") and line.strip()}


def test_equal_plans_have_no_marked_row() -> None:
    assert set(rows(comparison([planned(), planned()])).values()) == {" "}


def test_what_differs_is_marked_and_nothing_else() -> None:
    plan = planned()
    configuration = plan.configurations["3d_fullres"]
    changed = replace(
        configuration, batch_size=9, augmentation=replace(configuration.augmentation, rotation_degrees=15.0)
    )
    found = rows(comparison([plan, replace(plan, configurations=plan.configurations | {"3d_fullres": changed})]))
    assert {name for name, mark in found.items() if mark == "*"} == {"batch_size", "augmentation.rotation_degrees"}
    assert "augmentation.scaling" not in found  # the same in both, and only a detail


def test_columns_are_aligned_and_headed_by_the_planners() -> None:
    plans = [planned(plain_unet.PLANNER), planned(residual_l.PLANNER)]
    head, *lines = comparison(plans).splitlines()
    assert head.split() == ["plain_unet", "residual_l"]
    starts = [head.index(plan.planner) for plan in plans]
    patches = [",".join(map(str, plan.configurations["3d_fullres"].patch_size)) for plan in plans]
    row = next(line for line in lines if line[2:].startswith("patch_size"))
    assert [row[start:].split()[0] for start in starts] == patches


def test_a_configuration_that_one_planner_lacks_is_seen() -> None:
    large = {"shape": (200, 200, 200), "spacing": (1.0, 1.0, 1.0)}
    table = comparison([planned(plain_unet.PLANNER, **large), planned(cpu.PLANNER, **large)])
    assert "3d_lowres" not in planned(plain_unet.PLANNER, **large).configurations
    sections = {lines[0]: lines[1:] for lines in map(str.splitlines, table.split("\n\n")[1:])}
    assert list(sections) == ["3d_fullres", "3d_lowres", "3d_cascade_fullres", "2d"]
    assert table.count("\n\n2d\n") == 1, "what one planner's optimizer alone has stands beside the rest"
    assert all(line[0] == "*" for name in ("3d_lowres", "3d_cascade_fullres") for line in sections[name])
