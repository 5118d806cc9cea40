"""What several modalities leave in records, each value replaced by anything: see ``test_hostile_records``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_values import damaged, places, survive
from modal_plan import ALIGNMENT, CHANNELS, MASKS, SOURCES, modal_plan

from autoseg.alignment.record import Alignment, Registration
from autoseg.bundle.manifest import CrossValidation, Manifest
from autoseg.core.channels import ChannelSource
from autoseg.core.estimate import Estimate
from autoseg.core.labels import Labels
from autoseg.core.records import from_json, to_json
from autoseg.data.dataset import Case, Dataset, ImageSource
from autoseg.data.dataset_json import channel_sources_of, channels_of, labels_of
from autoseg.data.fingerprint import CaseFingerprint, ChannelFingerprint, Fingerprint, Intensities
from autoseg.data.label_maps import file_names
from autoseg.errors import DatasetError, RecordError
from autoseg.evaluation.scores import Summary
from autoseg.inspection.scan import not_registered
from autoseg.plan import Plan
from autoseg.planning.explain import explanation

ESTIMATE = Estimate(0.5, 0.4, 0.6, 5)
FOUND = Registration(ALIGNMENT, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), (3.0, 0.0, -2.0), 1.1, 1.2, 4.0)


def case(key: str) -> Case:
    images = (ImageSource(f"/{key}_0000.nii.gz"), ImageSource(f"/{key}_0001.nii.gz", 3))
    return Case(key, images, None, (f"/{key}_lung.nii.gz", None), (FOUND, None))


DATASET = Dataset(
    "Dataset001_Made",
    "/d",
    CHANNELS,
    replace(MASKS, absent_are_empty=True),
    (case("a"), case("b")),
    ".nii.gz",
    "nnunet",
    channel_sources=SOURCES,
    alignment=ALIGNMENT,
)
CHANNEL = ChannelFingerprint(0.0, 9.0, 1.0, 4.0, 8.0, 90, "ab", (1.0, 2.0), (2.0, 3.0), 0.2)
MEASURED = CaseFingerprint(
    (30, 40, 50),
    (3.0, 1.0, 1.0),
    (28, 38, 48),
    0.8,
    "ab",
    2,
    (1, 2),
    "LPS",
    (CHANNEL, None),
    (FOUND, None),
    (1.0, None),
)
INTENSITIES = (Intensities(10.0, 9.0, 5.0, -30.0, 60.0, -20.0, 50.0),) * 2
SCORES = Summary(
    {"dice": ESTIMATE},
    {"lung": {"dice": ESTIMATE}},
    {"a": {"lung": {"dice": None}}},
    subsets={"T1": Summary({"dice": ESTIMATE}, {"lung": {"dice": ESTIMATE}}, {})},
)
MANIFEST = Manifest(
    "Made",
    {"2d": ("0",), "2d_T1": ("0",)},
    {"2d": 0.5, "2d_T1": 0.5},
    scores=CrossValidation({"dice": ESTIMATE}, {"lung": {"dice": ESTIMATE}}, ("0",), {"T1": {"dice": ESTIMATE}}),
    label_weights={"2d": (0.25, 0.75), "2d_T1": (0.75, 0.25)},
)


def use_plan(plan: Plan) -> None:
    assert explanation(plan)
    for name, configuration in plan.configurations.items():
        task = plan.task(name)
        with torch.device("meta"):
            assert task.network()
        assert task.problem_without(range(len(plan.channels)))
        if configuration.missing is not None:
            assert configuration.missing.combinations(plan.channels, [(0,)]) is not None


def use_dataset(dataset: Dataset) -> None:
    for each in dataset.cases:
        assert each.picked is not None and each.files and each.reference(dataset.alignment) >= 0
        assert len(each.label_files) == len(file_names(each.key, dataset.file_ending, dataset.labels))
        assert not each.registrations or len(each.registrations) == len(each.images)
        not_registered(each, each.registrations)


RECORDS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "dataset.json": (DATASET, use_dataset),
    "fingerprint.json": (Fingerprint({"a": MEASURED}, INTENSITIES), lambda found: found.variation(0)),
    "scores.json": (SCORES, lambda scores: [each.dice for each in (scores, *scores.subsets.values())]),
    "model.json": (MANIFEST, lambda manifest: manifest.file_names),
}


@pytest.mark.parametrize("name", RECORDS)
def test_any_value_of_a_file_may_be_anything(name: str) -> None:
    whole, work = RECORDS[name]
    record = json.loads(json.dumps(to_json(whole)))
    assert from_json(type(whole), record, name) == whole
    work(whole)
    for path in places(record):
        for value in damaged(record, path):
            read = survive(partial(from_json, type(whole), value, name), name)
            if read not in (None, whole):
                work(read)


@pytest.mark.slow
def test_any_value_of_a_plan_may_be_anything(small_plan: Plan) -> None:
    plan = modal_plan(small_plan)
    record = json.loads(json.dumps(to_json(plan)))
    assert from_json(Plan, record, "plan.json") == plan
    use_plan(plan)
    for path in places(record):
        for value in damaged(record, path):
            read = survive(partial(from_json, Plan, value, "plan.json"), "plan.json")
            if read not in (None, plan):
                use_plan(read)


def test_records_of_a_case_fit_its_channels_and_masks() -> None:
    with pytest.raises(ValueError, match="registrations: 1 entries for 2 channels"):
        replace(case("a"), registrations=(FOUND,))
    with pytest.raises(ValueError, match="case a has files for 1 masks, the dataset has 2"):
        replace(DATASET, cases=(replace(case("a"), masks=("/a_lung.nii.gz",)),))
    with pytest.raises(ValueError, match="case b has files for 0 masks, the dataset has 2"):
        replace(DATASET, cases=(case("a"), replace(case("b"), masks=())))
    with pytest.raises(ValueError, match="is no path"):
        ImageSource("")
    with pytest.raises(ValueError, match=r"alignment\.reference"):
        replace(DATASET, alignment=Alignment(2))


DESCRIPTIONS: tuple[dict[str, Any], ...] = (
    {"channel_names": {"0": "CT"}, "masks": ["lung", "heart"], "masks_in_channels": True},
    {
        "channel_names": {"0": {"name": "T1", "file": 0}, "1": {"name": "b", "file": 1, "volume": 2}},
        "masks": ["lung", "heart"],
        "absent_masks_are_empty": True,
    },
)


@pytest.mark.parametrize("description", DESCRIPTIONS, ids=["in channels", "chosen volumes"])
def test_any_value_of_a_users_description_may_be_anything(description: dict[str, Any]) -> None:
    def read(value: Any) -> Labels:
        where = Path("dataset.json")
        labels, names = labels_of(value, where), channels_of(value, where)
        sources = channel_sources_of(value, where)
        assert len(sources) in (0, len(names)) and all(isinstance(source, ChannelSource) for source in sources)
        for name in file_names("case", ".nii.gz", labels):
            assert "/" not in name and not name.startswith(".")
        return labels

    for path in places(description):
        for value in damaged(description, path) if path else ():
            survive(partial(read, value), "dataset.json", (DatasetError,))


@pytest.mark.parametrize(
    "text",
    ["NaN", "Infinity", "1e400", "9" * 400, "[" * 60 + "]" * 60, '{"lung": 1, "lung": 2}', "", "'lung'", '["\\ud800"]'],
)
@pytest.mark.parametrize("field", ["masks", "masks_in_channels", "channel_names"])
def test_any_text_in_place_of_a_value_is_refused(field: str, text: str, tmp_path: Path) -> None:
    from autoseg.data.layouts import read_dataset

    fields = {name: json.dumps(value) for name, value in DESCRIPTIONS[0].items()} | {field: text}
    (tmp_path / "dataset.json").write_text(
        "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"
    )
    with pytest.raises((DatasetError, RecordError), match=r"dataset\.json") as caught:
        read_dataset(tmp_path)
    assert len(str(caught.value)) < 2000
