"""Every example in dataset_json_examples is the dataset.json of a dataset that can be read and measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_datasets import EXAMPLES, make

from autoseg.core.channels import ChannelSource
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.core.masks import MaskLabels
from autoseg.data import dataset_json
from autoseg.data.dataset import ImageSource
from autoseg.inspection.check import check_headers
from autoseg.inspection.extract import extract_fingerprint


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_example_reads_checks_and_measures(example: Path, tmp_path: Path) -> None:
    dataset = make(example, tmp_path)
    assert len(dataset.cases) == dataset_json.read(example)["numTraining"]
    assert check_headers(dataset, 1) == []
    fingerprint, problems = extract_fingerprint(dataset, tmp_path / "measured", 1)
    assert problems == []
    assert len(fingerprint.intensities) == len(dataset.channels)


def test_examples_mean_what_they_say(tmp_path: Path) -> None:
    meaning = {}
    for example in EXAMPLES.glob("*.json"):
        meaning[example.stem] = make(example, tmp_path / example.stem)
    assert len(meaning) >= 15
    regions = meaning["overlapping_regions"].labels
    assert isinstance(regions, RegionLabels)
    assert regions.foreground == {"whole_tumour": (1, 2, 3), "tumour_core": (2, 3), "enhancing_tumour": (3,)}
    assert regions.class_order == (1, 2, 3)
    assert meaning["overlapping_masks"].labels == MaskLabels(("lung", "heart", "clavicle"))
    assert meaning["overlapping_masks_one_file"].labels.in_channels
    assert [source.channel for source in meaning["time_series"].cases[0].images] == [0, 1, 2, 3]
    chosen = meaning["chosen_volumes"]
    assert chosen.channel_sources == (ChannelSource(0), ChannelSource(1, 0), ChannelSource(1, 3))
    t2, dwi = map(str, chosen.cases[0].image_files)
    assert chosen.cases[0].images == (ImageSource(t2), ImageSource(dwi, 0), ImageSource(dwi, 3))
    assert [Path(source.file).name for source in meaning["multi_echo"].case("bert").images] == [
        "gre_e1.nii.gz", "gre_e2.nii.gz", "gre_e3.nii.gz"
    ]  # fmt: skip
    colour, infrared = map(str, meaning["colour_and_infrared"].cases[0].image_files)
    assert meaning["colour_and_infrared"].cases[0].images == (
        *(ImageSource(colour, number) for number in range(3)), ImageSource(infrared)
    )  # fmt: skip
    unpaired = meaning["unpaired_ct_mr"]
    assert unpaired.unpaired and [case.absent for case in unpaired.cases] == [(1,), (0,)] * 2
    assert [case.image_files[0].parent.name for case in unpaired.cases] == ["ct", "mr"] * 2
    assert meaning["scribbles_ignore"].labels.ignore == 4
    assert meaning["any_integer_labels"].labels.values == (0, 205, 420, 500)
    assert meaning["any_integer_labels"].file_ending == ".nrrd"
    assert meaning["decathlon"].layout == "msd"
    assert meaning["decathlon"].labels == ExclusiveLabels({"background": 0, "peripheral_zone": 1, "transition_zone": 2})
    assert meaning["decathlon"].channels == ("T2", "ADC")
    assert meaning["explicit_cases"].keys == ("anna", "bert")
    assert meaning["rgb_2d"].channels == ("R", "G", "B")
    assert len(meaning["rgb_2d"].cases[0].image_files) == 1
