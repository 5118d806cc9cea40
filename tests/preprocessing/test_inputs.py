"""Further inputs are read of the same box as image and labels, and are what their group says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tasks import task_of

from autoseg.core.geometry import Box, Geometry
from autoseg.core.inputs import InputGroup
from autoseg.errors import DatasetError, ImageFileError
from autoseg.parts.inputs import prior
from autoseg.plan import Plan
from autoseg.preprocessing.inputs import CaseWithInputs, filled, with_inputs
from autoseg.preprocessing.locations import Locations
from autoseg.preprocessing.prepare import PreparedCase
from autoseg.preprocessing.priors import PriorStore
from autoseg.preprocessing.spatial import spatial_record
from autoseg.preprocessing.store import CaseStore, StoredCase

SHAPE, SPACING = (9, 11, 10), (2.0, 2.0, 2.0)
BOX = Box((1, 2, 3), (5, 8, 9))
LABELS = np.random.default_rng(0).integers(0, 2, SHAPE).astype(np.uint8)


@pytest.fixture
def stored(tmp_path: Path) -> StoredCase:
    image = np.random.default_rng(1).normal(size=(1, *SHAPE)).astype(np.float32)
    record = spatial_record(SHAPE, SPACING, (0, 1, 2), Box.whole(SHAPE), SPACING)
    found = Locations.of({1: np.argwhere(LABELS)})
    store = CaseStore(tmp_path / "prepared")
    store.write("a", PreparedCase(image, LABELS, record, Geometry.plain(SHAPE, SPACING), found), "content")
    return store.open("a")


def test_a_prior_is_read_of_the_box_of_its_image(stored: StoredCase, small_plan: Plan, tmp_path: Path) -> None:
    priors = PriorStore(tmp_path / "priors")
    priors.write("a", 1 - LABELS, "content")
    configuration = replace(small_plan.configuration()[1], inputs=(prior.Spec("3d_lowres"),))
    case = with_inputs({"a": stored}, task_of(small_plan, configuration), priors)["a"]
    image, labels, indices = case.read(BOX)
    np.testing.assert_array_equal(labels, LABELS[BOX.slices])
    np.testing.assert_array_equal(indices, 1 - labels[None])
    np.testing.assert_array_equal(image, stored.read(BOX)[0])
    path = priors.path("a")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ImageFileError, match=r"case a: .*makes it anew"):
        case.read(BOX)


@dataclass(frozen=True)
class Given:
    """Gives the same whatever it is asked for."""

    array: Any

    def read(self, case: CaseWithInputs, box: Box) -> Any:
        return case.predicted(box) if isinstance(self.array, str) else self.array


def read(stored: StoredCase, array: Any, optional: bool) -> np.ndarray:
    group = InputGroup("clicks", "heat map", 2, optional=optional)
    *_, found = CaseWithInputs(stored, (Given(array),), (group,)).read(BOX)
    return found


def test_an_absent_input_is_zero_where_it_may_be_absent(stored: StoredCase) -> None:
    found = read(stored, None, optional=True)
    assert found.shape == (2, *BOX.shape) and found.dtype == np.float32 and not found.any()
    labels = filled(None, InputGroup("prior", "labels", 5, optional=True), BOX.shape, "case a")
    assert labels.shape == (1, *BOX.shape) and labels.dtype == np.uint8
    with pytest.raises(DatasetError, match="case a: the input 'clicks' has nothing"):
        read(stored, None, optional=False)


def test_an_input_that_is_not_what_its_group_says_is_named(stored: StoredCase) -> None:
    with pytest.raises(DatasetError, match="case a: the input 'clicks'"):
        read(stored, np.zeros((1, *BOX.shape), np.float32), optional=True)
    with pytest.raises(DatasetError, match="that names an earlier stage"):
        read(stored, "predicted", optional=True)
