"""Images to predict that lack channels: their numbers say which, where the model may do without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.core.missing import MissingChannels
from autoseg.data.layouts import find_images
from autoseg.errors import DatasetError
from autoseg.parts.readers import write_channels

SHAPE, CHANNELS = (2, 3, 4), ("T1", "T2", "FLAIR")
ANY = MissingChannels(dict.fromkeys(CHANNELS, 0.0), 0.5)
NOT_T1 = MissingChannels({"T2": 0.1, "FLAIR": 0.1})


def images(folder: Path, *names: str) -> Path:
    """Files of one channel; with ``*3`` behind the name, of three."""
    for name in names:
        name, _, channels = name.partition("*")
        array = np.ones((int(channels or 1), *SHAPE), np.float32)
        write_channels(array, Geometry.plain(SHAPE, (1.0, 1.0, 1.0)), folder / f"{name}.nii.gz")
    return folder


def found(folder: Path, missing: MissingChannels) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Case to the channels that it has, and what is wrong with others."""
    cases, refused = find_images(folder, len(CHANNELS), lambda absent: missing.problem_without(CHANNELS, absent))
    for case in cases:
        for number, source in enumerate(case.images):
            assert source is None or source.channel == number or source.file.endswith(f"{case.key}_{number:04d}.nii.gz")
    return {case.key: tuple(n for n, source in enumerate(case.images) if source) for case in cases}, refused


@pytest.mark.parametrize(
    ("names", "there"),
    [
        (["a_0000", "a_0002"], {"a": (0, 2)}),
        (["a_0000"], {"a": (0,)}),
        (["a_0001", "a_0002"], {"a": (1, 2)}),
        (["a_0002", "b_0001", "b_0000"], {"a": (2,), "b": (0, 1)}),
        (["a_0000", "a_0001", "a_0002", "b*3", "c_0000*3"], {"a": (0, 1, 2), "b": (0, 1, 2), "c": (0, 1, 2)}),
        (["p_0001*3", "p_0002*3"], {"p_0001": (0, 1, 2), "p_0002": (0, 1, 2)}),
    ],
)
def test_what_is_there_is_taken_by_its_number(tmp_path: Path, names: list[str], there: dict[str, object]) -> None:
    assert found(images(tmp_path, *names), ANY) == (there, {})


@pytest.mark.parametrize(
    ("names", "missing", "said"),
    [
        (["a_0001", "a_0002"], NOT_T1, "case a: lacks T1, which the model needs; a case may lack T2, FLAIR"),
        (["a_0000", "a_0003"], ANY, "_0003 is beyond the last channel, _0002"),
        (["a_0000", "a_0000"], MissingChannels({"PET": 0.5}), "a_0001, a_0002 are missing"),
        (["a"], ANY, "the model needs 3 channels, found a.nii.gz"),
        (["a", "a_0001"], ANY, r"stands beside"),
        (["a_0000*2"], ANY, "the model needs 3 channels"),
    ],
)
def test_what_does_not_add_up_is_refused(tmp_path: Path, names: list[str], missing: MissingChannels, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        found(images(tmp_path, *names), missing)


def test_one_case_without_a_required_channel_leaves_the_others(tmp_path: Path) -> None:
    there, refused = found(images(tmp_path, "a_0001", "b_0000", "b_0002"), NOT_T1)
    assert there == {"b": (0, 2)} and list(refused) == ["a"] and "lacks T1" in refused["a"]
