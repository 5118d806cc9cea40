"""The demo's dataset is what it says: two modalities, nested structures, thick slices, the same every time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autoseg.core.seeds import generator
from autoseg.parts.readers import read_image, read_labels
from autoseg.pipeline.demo import CHANNELS, LABELS, SPACING, make_dataset, make_phantom


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("raw") / "Dataset999_Demo", cases=3, tests=1)


def test_files_are_those_of_nnunets_raw_layout(folder) -> None:
    description = json.loads((folder / "dataset.json").read_text())
    assert description["numTraining"] == 3 and description["labels"] == LABELS
    assert sorted(path.name for path in (folder / "labelsTr").iterdir()) == [f"demo_00{n}.nii.gz" for n in range(3)]
    assert sorted(path.name for path in (folder / "imagesTs").iterdir()) == [
        f"demo_003_000{c}.nii.gz" for c in range(len(CHANNELS))
    ]


def test_what_a_kill_left_is_removed(tmp_path) -> None:
    for part in (".", "imagesTr", "labelsTs"):
        (tmp_path / part).mkdir(exist_ok=True)
        (tmp_path / part / ".writing-999999999-0123abcd-demo_000.nii.gz").write_bytes(b"half")
    make_dataset(tmp_path, cases=1, tests=1)
    assert not list(tmp_path.rglob(".writing-*"))


def test_channels_and_labels_of_a_case_share_an_anisotropic_grid(folder) -> None:
    image = read_image([folder / "imagesTr" / f"demo_000_000{c}.nii.gz" for c in (0, 1)])
    labels, geometry = read_labels(folder / "labelsTr" / "demo_000.nii.gz")
    assert image.array.shape == (2, *labels.shape)
    assert image.geometry == geometry and geometry.spacing == pytest.approx(SPACING)
    assert set(np.unique(labels)) == {0, 1, 2}


def test_the_same_seed_gives_the_same_voxels_and_another_seed_others() -> None:
    first, again, other = (make_phantom(generator(seed, "phantom", 0)) for seed in (0, 0, 1))
    assert np.array_equal(first.channels, again.channels)
    assert first.channels.shape != other.channels.shape or not np.array_equal(first.channels, other.channels)


@pytest.mark.parametrize("number", range(5))
def test_each_structure_needs_its_own_channel(number) -> None:
    """In units of the organ's noise, T1 separates the organ from the body and T2 the lesion from the organ only."""
    phantom = make_phantom(generator(0, "phantom", number))
    near = phantom.labels > 0
    grown = near.copy()
    for axis in (1, 2):
        for step in (-5, 5):
            grown |= np.roll(near, step, axis)
    ring, organ, lesion = grown & ~near, phantom.labels == 1, phantom.labels == 2

    def separation(channel, a, b):
        return abs(np.median(channel[a]) - np.median(channel[b])) / channel[organ].std()

    t1, t2 = phantom.channels
    assert separation(t1, organ, ring) > 1.5 and separation(t1, organ, lesion) < 1
    assert separation(t2, organ, lesion) > 1.5 and separation(t2, organ, ring) < 1


def test_the_lesion_lies_inside_the_organ() -> None:
    labels = make_phantom(generator(0, "phantom", 0)).labels
    beside = np.zeros_like(labels, bool)
    for axis in (0, 1, 2):
        for step in (-1, 1):
            beside |= np.roll(labels == 2, step, axis)
    touching = labels[beside & (labels != 2)]
    assert (touching == 1).mean() > 0.7  # it may reach the organ's rim here and there


def test_bright_voxels_alone_do_not_tell_a_lesion() -> None:
    """The cyst is as bright as the lesion in T2, so that a threshold finds about as much of one as of the other."""
    phantom = make_phantom(generator(0, "phantom", 0))
    t2, lesion = phantom.channels[1], phantom.labels == 2
    bright = t2 > np.percentile(t2[lesion], 20)
    assert (bright & ~lesion).sum() > 0.3 * (bright & lesion).sum()
