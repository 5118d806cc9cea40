"""Grids of channels that are brought onto another one: what is odd about one beside the same channel of other cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autoseg.alignment.record import BY_HEADER
from autoseg.core.geometry import Geometry
from autoseg.data.layouts import read_dataset
from autoseg.inspection.alignments import with_alignment
from autoseg.inspection.check import check_headers, read_headers
from autoseg.inspection.problem import Problem
from autoseg.parts.readers import write_labels

FINE, COARSE = Geometry.plain((8, 9, 10), (1.0, 1.0, 1.0)), Geometry.plain((4, 4, 5), (2.0, 2.0, 2.0))


def put(path: Path, geometry: Geometry) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(np.zeros(geometry.shape, np.uint8), geometry, path)
    return path.name


def listed(folder: Path, channels: int, cases: dict[str, tuple[Geometry, ...]]) -> Path:
    """A dataset that lists a file for each of the grids of a case, and a label map on the first of them."""
    for key, grids in cases.items():
        for number, grid in enumerate(grids):
            put(folder / f"{key}_{number}.nii.gz", grid)
        put(folder / f"{key}_label.nii.gz", grids[0])
    dataset = {
        key: {"images": [f"{key}_{number}.nii.gz" for number in range(len(grids))], "label": f"{key}_label.nii.gz"}
        for key, grids in cases.items()
    }
    names = {str(number): f"M{number}" for number in range(channels)}
    described = {"channel_names": names, "labels": {"background": 0, "a": 1}, "dataset": dataset}
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


def problems(folder: Path) -> list[Problem]:
    dataset = read_dataset(folder)
    headers = read_headers(dataset, 1)
    return check_headers(with_alignment(dataset, headers, BY_HEADER), 1, headers)


@pytest.mark.parametrize("spacing", [1e-6, 1e6])
def test_a_channel_in_another_unit_than_in_other_cases_is_an_error(tmp_path: Path, spacing: float) -> None:
    odd = Geometry.plain(COARSE.shape, (2 * spacing,) * 3)
    cases = {f"c{number}": (FINE, COARSE) for number in range(4)} | {"odd": (FINE, odd)}
    (error,) = [problem for problem in problems(listed(tmp_path, 2, cases)) if problem.severity == "error"]
    assert (error.case, error.file) == ("odd", "odd_1.nii.gz")
    assert "usual are 2 x 2 x 2" in error.what and "micrometres" in error.cure


def test_channels_that_are_coarse_in_all_cases_are_fine(tmp_path: Path) -> None:
    cases = {f"c{number}": (FINE, COARSE) for number in range(4)}
    assert {problem.severity for problem in problems(listed(tmp_path, 2, cases))} == {"note"}


def test_a_case_with_fewer_files_than_channels_is_named(tmp_path: Path) -> None:
    cases = {"a": (FINE, COARSE, COARSE), "b": (FINE, FINE)}
    found = problems(listed(tmp_path, 3, cases))
    assert any(problem.case == "b" and "2 channels in" in problem.what for problem in found)
