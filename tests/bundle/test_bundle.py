"""A bundle gives back the model that was put in, as folder and as zip, and nothing else."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_settings import SETTINGS
from safetensors.torch import save
from small_models import bundle

from autoseg.bundle.bundle import Bundle, read_bundle
from autoseg.bundle.card import card
from autoseg.bundle.manifest import Manifest, MirroringTest
from autoseg.bundle.trained import read_trained
from autoseg.bundle.write import copy_bundle, write_bundle
from autoseg.core.estimate import Estimate
from autoseg.core.geometry import Geometry, Image
from autoseg.core.inputs import InputSpec
from autoseg.corrections import Correction
from autoseg.errors import ModelError
from autoseg.inference.model import Model
from autoseg.parts.inputs import prior
from autoseg.parts.postprocessors import largest_component, minimum_size
from autoseg.plan import Plan

FOLDS = ("0", "1")


def weights(plan: Plan, seed: int) -> bytes:
    torch.manual_seed(seed)
    return save(
        plan.configuration()[1].network.build(InputSpec.of_image(len(plan.channels)), plan.labels.heads).state_dict()
    )


def manifest(plan: Plan, **fields: object) -> Manifest:
    return replace(Manifest("Small", {plan.default: FOLDS}, {plan.default: 1.0}), **fields)


def written(target: Path, plan: Plan, seed: int = 0, **fields: object) -> Bundle:
    stored = {plan.default: {fold: weights(plan, seed + number) for number, fold in enumerate(FOLDS)}}
    return write_bundle(target, manifest(plan, **fields), plan, stored)


@pytest.mark.slow
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), ending=st.sampled_from(["", ".zip"]))
def test_what_a_bundle_predicts_is_what_its_networks_predict(small_plan, tmp_path_factory, seed, ending):
    target = tmp_path_factory.mktemp("bundle") / f"model{ending}"
    written(target, small_plan, seed)
    image = Image(
        np.random.default_rng(seed).normal(size=(1, 9, 11, 10)).astype(np.float32),
        Geometry.plain((9, 11, 10), (2.0,) * 3),
    )
    networks = []
    for number in range(len(FOLDS)):
        torch.manual_seed(seed + number)
        networks.append(small_plan.configuration()[1].network.build(InputSpec.of_image(1), 2).eval())
    original = Model(small_plan.task(), tuple(networks), FOLDS, SETTINGS)
    found = Model.read(target, settings=SETTINGS)
    assert found.folds == FOLDS
    np.testing.assert_array_equal(found.segment(image).labels, original.segment(image).labels)


@pytest.mark.parametrize(("first", "second"), [("a.zip", "b"), ("a", "b.zip")])
def test_folder_and_zip_hold_the_same(small_plan, tmp_path, first, second):
    corrections = (Correction("organ", largest_component.Spec()), Correction(None, minimum_size.Spec(30.0)))
    one = written(tmp_path / first, small_plan, postprocessing=corrections, licence="CC BY 4.0", citation="Doe 2026")
    copy_bundle(one, tmp_path / second)
    two = read_bundle(tmp_path / second)
    assert two.manifest == one.manifest and two.plan == one.plan
    assert two.manifest.postprocessing == corrections and two.manifest.licence == "CC BY 4.0"
    two.verify()


def test_the_same_model_is_the_same_zip(small_plan, tmp_path):
    for name in ("a.zip", "b.zip"):
        written(tmp_path / name, small_plan)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_configurations_without_weights_are_left_out_of_the_plan(small_plan, tmp_path):
    more = replace(small_plan, configurations=small_plan.configurations | {"other": small_plan.configuration()[1]})
    assert set(written(tmp_path / "model", more).plan.configurations) == {small_plan.default}


@pytest.mark.parametrize("name", ["model", "model.zip"])
def test_a_bundle_that_somebody_writes_at_the_same_time_is_not_replaced(name, small_plan, tmp_path, monkeypatch):
    mine, theirs = written(tmp_path / "mine", small_plan), written(tmp_path / f"theirs{name[5:]}", small_plan, seed=7)
    blocks = Bundle.blocks

    def slow(bundle: Bundle, file: str) -> object:
        if not (tmp_path / name).exists():
            theirs.path.rename(tmp_path / name)
        return blocks(bundle, file)

    monkeypatch.setattr(Bundle, "blocks", slow)
    with pytest.raises(ModelError, match="exists already"):
        copy_bundle(mine, tmp_path / name)
    assert read_bundle(tmp_path / name).manifest == theirs.manifest
    assert {path.name for path in tmp_path.iterdir()} == {"mine", name}


def test_a_bundle_never_replaces_another(small_plan, tmp_path):
    written(tmp_path / "model.zip", small_plan)
    with pytest.raises(ModelError, match="exists already"):
        written(tmp_path / "model.zip", small_plan, seed=7)


def test_a_bundle_that_could_not_be_finished_is_not_there(small_plan, tmp_path):
    stored = {small_plan.default: {fold: tmp_path / "no such file" for fold in FOLDS}}
    for target in (tmp_path / "out" / "model.zip", tmp_path / "out" / "model"):
        with pytest.raises(FileNotFoundError):
            write_bundle(target, manifest(small_plan), small_plan, stored)
    assert not list((tmp_path / "out").iterdir())


def test_some_folds_of_a_bundle_can_be_chosen(small_plan, tmp_path):
    written(tmp_path / "model.zip", small_plan)
    assert Model.read(tmp_path / "model.zip", ["1"], settings=SETTINGS).folds == ("1",)
    with pytest.raises(ModelError, match="has no fold 4; there are 0, 1"):
        Model.read(tmp_path / "model.zip", ["4"], settings=SETTINGS)


@pytest.mark.parametrize("pays", [True, False])
def test_the_model_knows_whether_mirroring_pays(small_plan, tmp_path, pays):
    score = Estimate(0.9, 0.8, 1.0, 5)
    tested = MirroringTest(pays, score, score, score, p=0.5, passes=8)
    written(tmp_path / "tested", small_plan, mirroring={small_plan.default: tested})
    assert Model.read(tmp_path / "tested", settings=SETTINGS).mirroring_pays is pays
    written(tmp_path / "untested", small_plan)
    assert Model.read(tmp_path / "untested", settings=SETTINGS).mirroring_pays is None


def test_notes_beside_the_files_of_a_folder_do_no_harm(small_plan, tmp_path):
    written(tmp_path / "model", small_plan)
    (tmp_path / "model" / "notes.txt").write_text("from the hospital")
    assert Model.read(tmp_path / "model", settings=SETTINGS).folds == FOLDS


@pytest.mark.parametrize("weight", [0.0, -1.0, 0.5, 2.0, float("nan")])
def test_weights_of_an_ensemble_are_positive_and_sum_to_one(small_plan, weight):
    with pytest.raises(ValueError, match="sum to 1"):
        manifest(small_plan, ensemble={small_plan.default: weight})


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\\b", "con", "LPT1.zip", "x" * 151, "a.", "a:b", "a\nb"])
def test_a_name_must_be_the_name_of_a_folder_anywhere(small_plan, name):
    with pytest.raises(ValueError, match="cannot be the name"):
        manifest(small_plan, name=name)


@pytest.mark.slow
def test_a_cascade_of_before_is_read_and_predicts_what_it_did():
    """Its plan says ``previous``, and among the augmentation's values mistakes in what that predicts."""
    stored = Path(__file__).parent / "models" / "cascade_of_before"
    model, case = Model.read(stored.with_suffix(".zip"), settings=SETTINGS), np.load(stored.with_suffix(".npz"))
    assert model.task.configuration.inputs == (prior.Spec("3d_lowres", prior.Mistakes(0.4, 0.5, (1.0, 8.0), 0.2)),)
    assert model.previous is not None and model.previous.task.configuration.inputs == ()
    found = model.predict(case["image"].astype(np.float32), spacing=(2.0, 2.5, 1.5))
    assert set(np.unique(found).tolist()) == {0, 3, 7}
    assert (found == case["labels"]).mean() > 0.999  # other processors round otherwise


def test_the_card_says_what_a_configuration_sees_of_the_channels(small_plan, tmp_path):
    _, one = small_plan.configuration()
    some = replace(one, normalizers=one.normalizers * 2, channels=(1,))
    every = replace(some, channels=None)
    plan = replace(small_plan, channels=("T1", "FLAIR"), configurations={"3d_fullres": every, "3d_fullres_FLAIR": some})
    text = card(read_trained(bundle(tmp_path / "model", plan, {"3d_fullres": 0.5, "3d_fullres_FLAIR": 0.5})))
    assert re.findall(r"^(\S+) +folds .*; sees (.*)$", text, re.MULTILINE) == [("3d_fullres_FLAIR", "FLAIR only")]
