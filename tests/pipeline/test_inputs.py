"""An input of one's own is one file: here clicks as an optional heat map, planned, trained and predicted with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from run_settings import SETTINGS
from torch import nn

from autoseg.cli import main
from autoseg.core.geometry import Geometry, Image
from autoseg.errors import ModelError, UnknownPartError
from autoseg.inference.ensemble import Ensemble
from autoseg.inference.inputs import all_inputs
from autoseg.inference.model import Model
from autoseg.pipeline.train_fold import prepared_cases
from autoseg.preprocessing.inputs import with_inputs
from autoseg.preprocessing.priors import PriorStore
from autoseg.settings import resolve
from autoseg.training.batches import training_sampler
from autoseg.training.step import Step
from autoseg.workspace import Workspace

CLICKS = '''
"""Where a person clicked: one channel, 1 at every click and less around it; a patch in three comes without."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from autoseg.core.inputs import InputGroup


def blob(places, shape, sigma):
    squares = ((np.indices(shape)[None] - places.reshape(-1, 3, 1, 1, 1)) ** 2).sum(1)
    return np.exp(-squares / (2 * sigma**2)).max(0).astype(np.float32)[None]


@dataclass(frozen=True)
class Spec:
    sigma: float = 2.0
    """Voxels."""
    absent: float = 0.33
    """Share of the patches that come without."""
    previous: ClassVar[None] = None

    def group(self, channels, labels):
        return InputGroup("clicks", "heat map", 1, optional=True)

    def read(self, case, box):
        voxels = case.foreground.voxels
        return blob(voxels.mean(0) - box.start, box.shape, self.sigma) if len(voxels) else None

    def draw(self, generator, *, batch, group):
        return tuple(generator.random(batch) >= self.absent)

    def apply(self, arrays, targets, drawn, move):
        moved = move.images(arrays)
        for patch, there in zip(moved, drawn):
            patch *= float(there)
        return moved

    def make(self, case):
        if case.given is None:
            return None
        return blob(case.points(np.array(case.given, float)), case.image.shape[1:], self.sigma)

    def encode(self, arrays, group):
        return arrays
'''
NAME, SHAPE, SPACING = "Dataset001_Clicks", (24, 28, 26), (2.0, 1.0, 1.0)
SHORT = ["--epochs", "1", "--set", "training.iterations_per_epoch=4", "--device", "cpu", "--threads", "1"]
WITH_CLICKS = ["--set", '3d_fullres.inputs=[{"name": "lab.clicks", "sigma": 1.5}]']
TRUST = ("--trust", "lab")


def call(workspace: Path, *words: str | Path) -> int:
    return main([*map(str, words), "--workspace", str(workspace)])


def make_dataset(folder: Path) -> Path:
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(3):
        labels = np.zeros(SHAPE, np.uint8)
        if number:  # there is a case that nobody could have clicked at
            labels[8:15, 9:19, 8 + number : 18 + number] = 1
        image = (labels + random.normal(1, 0.2, SHAPE)).astype(np.float32)
        for array, path in ((image, f"imagesTr/case_{number}_0000"), (labels, f"labelsTr/case_{number}")):
            written = sitk.GetImageFromArray(array)
            written.SetSpacing(SPACING[::-1])
            sitk.WriteImage(written, str(folder / f"{path}.nii.gz"))
    described = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(described | {"numTraining": 3}))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the raw dataset, the package of the part, and a workspace in which a fold was trained with it."""
    folder = tmp_path_factory.mktemp("clicks")
    (folder / "package" / "lab").mkdir(parents=True)
    (folder / "package" / "lab" / "clicks.py").write_text(CLICKS)
    raw, small = make_dataset(folder / NAME), ("--mirror", "none", "--set", "network.features=[4,8,8]")
    sys.path.insert(0, str(folder / "package"))
    plan = ("plan_and_preprocess", raw, "--planner", "tiny", "-c", "3d_fullres")
    assert call(folder / "workspace", *plan, *small, *WITH_CLICKS, *TRUST) == 0
    assert call(folder / "workspace", "train", NAME, "0", "-c", "3d_fullres", *SHORT, *TRUST) == 0
    yield folder
    sys.path.remove(str(folder / "package"))
    for module in [name for name in sys.modules if name.split(".")[0] == "lab"]:
        del sys.modules[module]


def model(trained: Path) -> Model:
    folder = Workspace(trained / "workspace", ("lab",)).dataset_folder(NAME).runs("3d_fullres")
    found = Model.read(folder, settings=SETTINGS, trusted=("lab",))
    assert isinstance(found, Model)
    return found


def image() -> Image:
    array = np.random.default_rng(5).normal(1, 0.2, (1, *SHAPE)).astype(np.float32)
    return Image(array, Geometry.plain(SHAPE, SPACING))


@pytest.mark.slow
def test_a_model_with_an_input_of_its_own_predicts_from_the_command_line(trained: Path) -> None:
    given = ("-i", trained / NAME / "imagesTr", "-o", trained / "out", "-d", NAME, "-c", "3d_fullres")
    assert call(trained / "workspace", "predict", *given, "--device", "cpu", *TRUST) == 0
    for number in range(3):
        found = sitk.GetArrayFromImage(sitk.ReadImage(str(trained / "out" / f"case_{number}.nii.gz")))
        assert found.shape == SHAPE and set(np.unique(found).tolist()) <= {0, 1}


def test_without_trust_nothing_of_it_runs(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(trained / "workspace", "train", NAME, "1", "-c", "3d_fullres", *SHORT) == 2
    assert "--trust lab" in capsys.readouterr().err
    with pytest.raises(UnknownPartError, match="--trust lab"):
        Model.read(
            Workspace(trained / "workspace", ("lab",)).dataset_folder(NAME).runs("3d_fullres"), settings=SETTINGS
        )


def seen(run: Model, clicks: list[tuple[int, int, int]] | None) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """The clicks on the network's grid, the largest of them that the network was shown, and its logits."""
    prepared, shown = run.prepare(image(), None if clicks is None else {"clicks": clicks}), list[torch.Tensor]()
    inner = run.networks[0].network
    assert isinstance(inner, nn.Module)
    hook = inner.register_forward_pre_hook(lambda _, given: shown.append(given[0][:, 1].max()))
    logits = run.logits(prepared)
    hook.remove()
    return all_inputs(prepared, run.task, lambda: np.empty(0))[1], torch.stack(shown).max(), logits


def test_the_network_sees_where_was_clicked_and_zeros_where_nobody_clicked(trained: Path) -> None:
    run, click = model(trained), (12, 14, 13)
    (nothing, shown_nothing, absent), (heat, shown, clicked) = seen(run, None), seen(run, [click])
    assert not nothing.any() and shown_nothing == 0
    (expected,) = run.prepare(image()).record.points(np.array([click]))
    assert np.abs(np.array(np.unravel_index(heat.argmax(), heat.shape)) - expected).max() <= 0.5
    assert shown == heat.max() > 0.7 and not torch.equal(absent, clicked)


def test_an_input_that_the_model_does_not_have_is_refused(trained: Path) -> None:
    one = model(trained)
    for run in (one, Ensemble((one, one), (0.5, 0.5), SETTINGS)):
        for call in (run.prepare, lambda image, given, run=run: run.predict(image, given=given)):
            with pytest.raises(ModelError, match="no input contour; there is clicks"):
                call(image(), {"contour": []})


def test_what_a_user_gives_reaches_the_networks_of_an_ensemble(trained: Path) -> None:
    one, clicks = model(trained), {"clicks": [(12, 14, 13)]}
    both = Ensemble((one, one), (0.5, 0.5), SETTINGS)
    expected = one.segment(image(), probabilities="float32", given=clicks).results["probabilities"].stored
    found = both.segment(image(), probabilities="float32", given=clicks).results["probabilities"].stored
    without = both.segment(image(), probabilities="float32").results["probabilities"].stored
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - without).max() > 1e-4


def test_training_saw_both_patches_with_clicks_and_without(trained: Path) -> None:

    files = Workspace(trained / "workspace", ("lab",)).dataset_folder(NAME)
    task = files.read_plan().task("3d_fullres")
    keys = ("case_0", "case_1", "case_2")
    cases = with_inputs(prepared_cases(files, task, keys), task, PriorStore(files.priors("3d_fullres")))
    sampler, step = training_sampler(cases, keys, task, 0), Step.of(task, resolve(SETTINGS), 0, nn.Identity())
    most: dict[str, list[float]] = {key: [] for key in keys}
    for number in range(12):
        inputs = step.augmented(sampler.batch(number), number)
        assert inputs.images.shape[1] == 2
        for key, channels in zip(inputs.keys, inputs.images):
            most[key].append(float(channels[1].max()))
    assert set(most["case_0"]) == {0.0}
    assert 0.0 in most["case_1"] + most["case_2"] and max(most["case_1"]) > 0.5
