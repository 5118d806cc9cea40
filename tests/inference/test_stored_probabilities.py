"""Kept probabilities decide as the logits did, differ from them by half a code at most, and are complete or absent."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import decoded

from autoseg.core.geometry import Box, Geometry
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.errors import ImageFileError
from autoseg.inference import stored_probabilities as kept
from autoseg.preprocessing.spatial import SpatialRecord, spatial_record

EXCLUSIVE = ExclusiveLabels({"background": 0, "a": 7, "b": 3})
REGIONS = RegionLabels({"whole": (1, 2, 3), "core": (2, 3), "inner": (3,)}, (1, 2, 3))
GEOMETRY = Geometry.plain((9, 11, 10), (3.0, 1.0, 1.0))
BOX = Box((1, 0, 2), (10, 9, 11))  # in the turned grid


def record() -> SpatialRecord:
    return spatial_record(GEOMETRY.shape, GEOMETRY.spacing, (2, 0, 1), BOX, (2.0, 2.0, 2.0))


def random_logits(labels: Labels, seed: int, scale: float = 3.0) -> torch.Tensor:
    torch.manual_seed(seed)
    return scale * torch.randn(labels.heads, *BOX.shape)


def write(path: Path, logits: torch.Tensor, labels: Labels, bits: int, cuts: list[int]) -> kept.StoredProbabilities:
    edges = [0, *sorted(set(cuts)), logits.shape[1]]
    with kept.storing(path, record(), GEOMETRY, labels, bits) as watch:
        for start, stop in pairwise(edges):
            watch(slice(start, stop), logits[:, start:stop].movedim(0, -1))
    return kept.open_stored(path)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    labels=st.sampled_from([EXCLUSIVE, REGIONS]),
    bits=st.sampled_from([8, 16]),
    cuts=st.lists(st.integers(1, 8), max_size=4),
    seed=st.integers(0, 100),
    scale=st.sampled_from([0.001, 0.1, 3.0, 100.0]),
    thickness=st.integers(1, 9),
)
def test_what_is_kept_decides_as_the_logits_do(tmp_path_factory, labels, bits, cuts, seed, scale, thickness):
    logits = random_logits(labels, seed, scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "CHUNK_VOXELS", thickness * BOX.shape[1] * BOX.shape[2])
        case = write(tmp_path_factory.mktemp("kept") / "case.b2nd", logits, labels, bits, cuts)
        found = case.read(slice(0, BOX.shape[0]))
    again = kept.mean_logits(found.double() / case.one, labels)
    np.testing.assert_array_equal(decoded(labels, again.numpy()), decoded(labels, logits.numpy()))
    expected = logits.softmax(0) if labels is EXCLUSIVE else logits.sigmoid()
    assert (found.double() / case.one - expected).abs().max() <= 1.51 / case.one


def test_a_slab_is_read_by_itself_with_its_place(tmp_path):
    logits = random_logits(EXCLUSIVE, 0)
    case = write(tmp_path / "case.b2nd", logits, EXCLUSIVE, 8, [2, 5])
    assert case.shape == (3, *BOX.shape) and case.geometry == GEOMETRY
    assert case.before == record().split()[0]
    torch.testing.assert_close(case.read(slice(3, 7)), case.read(slice(0, 9))[:, 3:7])


def test_certain_voxels_take_no_space(tmp_path):
    logits = torch.full((3, *BOX.shape), -50.0)
    logits[0] = 50.0
    write(tmp_path / "case.b2nd", logits, EXCLUSIVE, 8, [])
    assert (tmp_path / "case.b2nd").stat().st_size < 1500


def test_what_was_interrupted_is_not_there(tmp_path):
    with pytest.raises(KeyboardInterrupt), kept.storing(tmp_path / "case.b2nd", record(), GEOMETRY, EXCLUSIVE) as watch:
        watch(slice(0, 2), random_logits(EXCLUSIVE, 0)[:, :2].movedim(0, -1))
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"not blosc", bytes(3000)])
def test_a_damaged_file_is_named(tmp_path, content):
    write(tmp_path / "case.b2nd", random_logits(EXCLUSIVE, 0), EXCLUSIVE, 8, [])
    (tmp_path / "case.b2nd").write_bytes(content)
    with pytest.raises(ImageFileError, match=r"case\.b2nd is damaged"):
        kept.open_stored(tmp_path / "case.b2nd")
