"""Every value of every file that a person may edit, replaced by anything: a sentence, or a record that works.

Anything else, a KeyError or a request for all memory, would come hours later or from the depths of a library.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile_values import HOSTILE, LONGEST_MESSAGE, TEXTS, damaged, places, survive

from autoseg import changes
from autoseg.bundle.manifest import CrossValidation
from autoseg.changes import changed
from autoseg.configuration import Configuration, StepCost, StepMemory
from autoseg.core.estimate import Estimate
from autoseg.core.family import Family
from autoseg.core.inputs import InputSpec
from autoseg.core.json_text import parse_json
from autoseg.core.labels import ExclusiveLabels, Labels
from autoseg.core.missing import MissingChannels
from autoseg.core.records import from_json, read_json, to_json
from autoseg.data.dataset import Case, Dataset
from autoseg.data.dataset_json import channels_of, labels_of
from autoseg.data.fingerprint import CaseFingerprint, Fingerprint, Intensities, Structure
from autoseg.data.folds import make_folds
from autoseg.errors import DatasetError, PlanningError, RecordError, UsageError
from autoseg.evaluation.learn import Learned
from autoseg.evaluation.paired import Paired
from autoseg.evaluation.selection import Compared, Selection
from autoseg.parts.augmentations import standard
from autoseg.parts.networks import residual_unet
from autoseg.plan import Plan
from autoseg.planning.explain import comparison, explanation, summary
from autoseg.run_status import RunStatus

LABELS = ExclusiveLabels({"background": 0, "liver": 1, "tumour": 5}, ignore=9)
KEYS = [f"case_{number}" for number in range(6)]
DATASET = Dataset(
    "Dataset001_Made",
    "/d",
    ("CT", "T1"),
    LABELS,
    tuple(Case.of_files(key, (f"/{key}.nii.gz",), f"/labels/{key}.nii.gz") for key in KEYS[:2]),
    ".nii.gz",
    "nnunet",
)
CASE = CaseFingerprint((30, 160, 140), (3.0, 1.0, 1.0), (28, 150, 130), 0.8, "ab", left_right=2, labels=(1, 2))
STRUCTURE = Structure(2, 0.1, (0.5, 0.4, 0.5), (0.01, 0.02, 0.01, 0.0, 0.0, 0.0))
FINGERPRINT = Fingerprint(
    dict.fromkeys(KEYS[:2], CASE), (Intensities(10.0, 9.0, 5.0, -30.0, 60.0, -20.0, 50.0),) * 2, (STRUCTURE, None)
)


NEEDED = {"ct": (0.0, 1.0, -1.0, 1.0), "prior": ("a",), "histogram": (tuple(map(float, range(11))),)}
IMAGE = np.linspace(0, 255, 3 * 3 * 4, dtype=np.float32).reshape(3, 3, 4)
ESTIMATE = Estimate(0.5, 0.4, 0.6, 5)


def planner(name: str) -> Any:
    return Family("autoseg.planners", "PLANNER").load(name)


def with_everything() -> Plan:
    """A planned configuration with costs, and every part that there is in one of the others."""
    plan = planner("tiny").plan(DATASET, FINGERPRINT)
    first = plan.configurations["3d_fullres"]
    configurations = {"a": replace(first, cost=StepCost("here", StepMemory(1, 2, 3, 4, 5), 10, 20, 0.5, 9))}
    for field, family in PARTS.items():
        for name in family:
            spec = family.load(name)(*(NEEDED.get(name, ())))
            held = {"normalizers": (spec, spec), "filters": ((spec,), ()), "inputs": (spec,)}
            missing = MissingChannels({DATASET.channels[0]: 0.2}) if name == "distillation" else None
            configurations[f"{field}-{name}"] = replace(first, **{field: held.get(field, spec)}, missing=missing)
    residual = residual_unet.Spec(**vars(first.network))
    flat = replace(plan.configurations["2d"], slices=3)
    more = {
        "network-residual": replace(first, network=residual),
        "slices": flat,
    }
    return replace(plan, configurations=configurations | more, default="a")


PARTS = {name: family for name, family in changes.PARTS.items() if name not in ("network", "resampler")}
WHOLE = with_everything()


def use(plan: Plan) -> None:
    """Everything that is made of a plan before the first step, without memory."""
    assert explanation(plan) and comparison([plan])
    for name, configuration in plan.configurations.items():
        assert summary(configuration) and plan.task(name).mirrored is not None
        built(configuration.network, len(plan.channels) * configuration.slices, plan.labels.heads)
        use_parts(plan, configuration)


@lru_cache
def built(network: Any, channels: int, heads: int) -> Any:
    with torch.device("meta"):
        return network.build(InputSpec.of_image(channels), heads)


def use_parts(plan: Plan, configuration: Configuration) -> None:
    assert configuration.optimizer.build([torch.nn.Parameter(torch.zeros(2, 2, 3, 3, 3))])
    assert 0 <= configuration.schedule.factor(0.5, 10) <= 1
    try:
        configuration.loss.build(plan.labels)
    except RecordError as error:
        assert "loss.weights" in str(error)
    loaded = configuration.augmentation.loaded_shape(configuration.patch_size)
    assert all(patch <= edge <= 30 * patch for edge, patch in zip(loaded, configuration.patch_size))
    small = {"batch": 1, "channels": len(plan.channels), "mirror_axes": (0,), "dimensions": configuration.dimensions}
    configuration.augmentation.draw(np.random.default_rng(1), **small)
    for part in configuration.inputs:
        part.draw(np.random.default_rng(1), batch=1, group=part.group(plan.channels, plan.labels))
    for normalizer in set(configuration.normalizers):
        assert np.isfinite(normalizer.apply(IMAGE, IMAGE > 5)).all()
    configuration.resampler.resample_image(IMAGE[None], (3, 3, 3), (1.0, 1.0, 1.0), (0.8, 1.25, 1.0))


def test_the_plan_that_is_damaged_is_whole_before() -> None:
    read = from_json(Plan, parse_json(json.dumps(to_json(WHOLE)).encode(), "plan.json"), "plan.json")
    assert read == WHOLE
    use(WHOLE)


@pytest.mark.parametrize("name", [name for name in WHOLE.configurations if name != "augmentation-batchgenerators"])
def test_any_value_of_a_plan_may_be_anything(name: str) -> None:
    plan = replace(WHOLE, configurations={name: WHOLE.configurations[name]}, default=name)
    record = json.loads(json.dumps(to_json(plan)))
    part = ("configurations", name, name.split("-")[0])
    for path in places(record):
        if name == "a" or path[: len(part)] == part:  # the others differ in one part from the first
            for value in damaged(record, path):
                read = survive(partial(from_json, Plan, value, "plan.json"), "plan.json")
                if read not in (None, plan):
                    use(read)


RECORDS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "dataset.json": (DATASET, lambda dataset: planned_quietly(dataset, FINGERPRINT)),
    "fingerprint.json": (FINGERPRINT, lambda fingerprint: planned_quietly(DATASET, fingerprint)),
    "folds.json": (
        make_folds(KEYS, dict(zip(KEYS, "aabbcc"))),
        lambda folds: [folds[number] for number in range(len(folds.folds))],
    ),
    "status.json": (RunStatus("training", "here", 5, 1e9, 10, 0.5, 0.1, 60.0, 0.8, "x"), str),
    "selection.json": (
        Selection(
            "Dataset001_Made",
            ("0",),
            5,
            5,
            (Compared(("2d",), ESTIMATE, {"a": ESTIMATE}, None),),
            {"3d": "why"},
            Learned((), Paired(ESTIMATE, 1, 1, 0.5)),
            {},
            CrossValidation({"dice": ESTIMATE}, {"a": {"dice": ESTIMATE}}, ("0",)),
        ),
        str,
    ),
}


def planned_quietly(dataset: Dataset, fingerprint: Fingerprint) -> None:
    """Raises nothing but what a user can read."""
    try:
        planner("tiny").plan(dataset, fingerprint)
    except PlanningError as error:
        assert len(str(error)) < LONGEST_MESSAGE


@pytest.mark.parametrize("name", list(RECORDS))
def test_any_value_of_a_file_may_be_anything(name: str) -> None:
    whole, work = RECORDS[name]
    record = json.loads(json.dumps(to_json(whole)))
    assert from_json(type(whole), record, name) == whole
    for path in places(record):
        for value in damaged(record, path):
            read = survive(partial(from_json, type(whole), value, name), name)
            if read not in (None, whole):
                work(read)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:12]))
@pytest.mark.parametrize("name", list(RECORDS))
def test_any_text_in_place_of_a_value_is_refused(name: str, text: bytes, tmp_path: Path) -> None:
    whole, _ = RECORDS[name]
    content = json.dumps(to_json(whole)).encode()
    first = content.index(b": ") + 2
    (tmp_path / name).write_bytes(content[:first] + text + content[content.index(b",", first) :])
    with pytest.raises(RecordError, match=name) as caught:
        read_json(tmp_path / name, type(whole))
    assert len(str(caught.value)) < LONGEST_MESSAGE


DESCRIPTIONS: tuple[dict[str, Any], ...] = (
    {"channel_names": {"0": "CT", "1": "T1"}, "labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}},
    {"modality": ["CT"], "labels": {"0": "background", "1": "a"}},
    {"channel_names": {"0": "CT"}, "labels": {"whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]},
)


@pytest.mark.parametrize("description", DESCRIPTIONS, ids=["labels", "decathlon", "regions"])
def test_any_value_of_a_users_description_may_be_anything(description: dict[str, Any]) -> None:
    def read(value: Any) -> Labels:
        labels, names = labels_of(value, Path("dataset.json")), channels_of(value, Path("dataset.json"))
        assert all(isinstance(name, str) for name in (*names, *labels.foreground))
        assert 0 <= int(labels.winners(torch.zeros(1, labels.heads))) < len(labels.written)
        assert labels.index_table.shape[0] == labels.heads
        return labels

    for path in places(description):
        for value in damaged(description, path) if path else ():
            survive(partial(read, value), "dataset.json", (DatasetError,))


def test_any_change_is_made_or_refused(small_plan: Plan) -> None:
    plan = replace(
        small_plan,
        configurations={
            name: replace(configuration, augmentation=standard.Spec())
            for name, configuration in small_plan.configurations.items()
        },
    )
    record = json.loads(json.dumps(to_json(plan)))
    fields = sorted({".".join(map(str, path[2:])) for path in places(record) if len(path) > 2})
    words = [value if isinstance(value, str) else json.dumps(value) for value in HOSTILE]
    words += [text.decode("utf-8", "surrogateescape") for text in TEXTS]
    fields += ["mirror_axes", "file_ending", "default"]
    changes = [f"{field}={word}" for number, field in enumerate(fields) for word in words[number % 4 :: 4]]
    odd = ["", "x", "=", "=1", ".", ".=1", "a.b.c=1", "x" * 300_000, "x" * 300_000 + "=1", "\ud800=1"]
    for change in changes + odd:
        made = survive(partial(changed, plan, [change]), "", (RecordError, UsageError))
        if made not in (None, plan):
            use(made)


def test_the_place_and_the_bound_are_named(small_plan: Plan) -> None:
    record = json.loads(json.dumps(to_json(small_plan)))
    record["configurations"]["3d_fullres"]["optimizer"]["learning_rate"] = -1
    with pytest.raises(RecordError) as caught:
        from_json(Plan, record, "plan.json")
    expected = "plan.json.configurations.3d_fullres.optimizer: learning_rate must be above 0, found -1"
    assert str(caught.value) == expected


def test_another_version_says_what_to_do(small_plan: Plan) -> None:
    record = json.loads(json.dumps(to_json(small_plan))) | {"version": 2, "new_field": 1}
    with pytest.raises(RecordError, match=r"plan\.json: it has version 2, this autoseg knows 1; update autoseg"):
        from_json(Plan, record, "plan.json")
