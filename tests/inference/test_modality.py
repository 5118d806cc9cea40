"""An image that nobody calls CT or MR is told by its values, or refused with what to do."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from autoseg.core.geometry import Geometry, Image
from autoseg.core.inputs import InputSpec
from autoseg.core.missing import MissingChannels
from autoseg.errors import ModelError
from autoseg.inference.in_memory import opened
from autoseg.inference.modality import placed
from autoseg.inference.model import Model
from autoseg.inference.options import PredictOptions
from autoseg.parts.inputs import presence
from autoseg.parts.networks import plain_unet, unpaired_unet
from autoseg.parts.normalizers import none as untouched
from autoseg.plan import Plan
from autoseg.settings import RunSettings
from autoseg.task import Task

SHAPE = (16, 20, 24)
GEOMETRY = Geometry.plain(SHAPE, (1.0, 1.0, 1.0))
random = np.random.default_rng(0)
BODY = ((np.indices(SHAPE) - np.array(SHAPE).reshape(3, 1, 1, 1) / 2) ** 2).sum(0) < 60
CT = np.where(BODY, 40, -1000) + random.normal(0, 15, SHAPE)
MR = np.where(BODY, 400, 5) + random.gamma(2, 10, SHAPE)
NEITHER = np.full(SHAPE, 3.0)


def task_of(plan: Plan, *channels: str, exclusive: bool = True) -> Task:
    missing = MissingChannels(dict.fromkeys(channels, 0.0), exclusive=exclusive)
    one = plan.configuration()[1]
    one = replace(one, missing=missing, inputs=(presence.Spec(),), normalizers=(untouched.Spec(),) * len(channels))
    return replace(plan, channels=channels, configurations={plan.default: one}).task()


def image(array: np.ndarray) -> Image:
    return Image(array[None].astype(np.float32), GEOMETRY)


@pytest.mark.parametrize(("array", "number", "name"), [(CT, 1, "CT"), (MR, 0, "T2w")])
def test_an_image_becomes_the_channel_that_it_looks_like(
    small_plan: Plan, array: np.ndarray, number: int, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "autoseg"):
        found = placed(image(array), task_of(small_plan, "T2w", "CT"), "case_7")
    assert found.absent == (1 - number,) and found.geometry == GEOMETRY and found.array.dtype == np.float32
    np.testing.assert_array_equal(found.array[number], array.astype(np.float32))
    assert not found.array[1 - number].any()
    (said,) = caplog.messages
    assert said.startswith(f"case_7: taken as {name}, since its values, ") and "--modality says otherwise" in said


@pytest.mark.parametrize(
    ("array", "channels", "message"),
    [
        (NEITHER, ("CT", "MR"), r"is it CT, MR\? its values, 3 to 3, are like those of no modality that is known"),
        (MR, ("CT", "PET"), r"is it CT, PET\? its values, .*, look like MR. Say which one: --modality NAME"),
        (MR, ("T1", "T2"), "look like MR, which T1, T2 are"),
        (CT, ("before", "after"), "look like CT. Say which one"),
    ],
)
def test_an_image_that_may_be_none_or_several_is_refused(
    small_plan: Plan, array: np.ndarray, channels: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        placed(image(array), task_of(small_plan, *channels), "the image")


def test_other_images_and_other_models_are_left_as_they_are(small_plan: Plan) -> None:
    two = Image(np.stack((CT, MR)).astype(np.float32), GEOMETRY)
    assert placed(two, task_of(small_plan, "CT", "MR"), "a") is two
    one = image(NEITHER)
    assert placed(one, task_of(small_plan, "CT", "MR", exclusive=False), "a") is one
    assert placed(one, small_plan.task(), "a") is one


SIZES = ((4, 8), ((3, 3, 3),) * 2, ((1, 1, 1), (2, 2, 2)), (1, 1), (1,))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("modality", [0, 1])
def test_folds_patches_and_mirror_images_of_a_modality_are_those_of_a_plain_u_net(
    small_plan: Plan, modality: int, precision: str
) -> None:
    """Ensemble, sliding window, mirroring: whatever surrounds the network knows of nothing new."""
    torch.manual_seed(0)
    task, networks, plain = task_of(small_plan, "CT", "MR"), [], []
    task = replace(task, configuration=replace(task.configuration, network=unpaired_unet.Spec(*SIZES)))
    for _ in range(2):
        network = task.network().eval()
        with torch.no_grad():
            for weight in (each for weights in network.alternatives for each in weights):  # type: ignore[union-attr]
                weight.add_(0.3 * torch.randn_like(weight))
        state = {name.removeprefix("network."): value for name, value in network.state_dict().items()}
        own = {name.replace(f"norm.of.{modality}.", "norm."): value for name, value in state.items()}
        alone = plain_unet.Spec(*SIZES).build(InputSpec.of_image(1), task.labels.heads).eval()
        alone.load_state_dict({name: value for name, value in own.items() if "norm.of" not in name})
        networks.append(network)
        plain.append(alone)
    settings = RunSettings(device="cpu", threads=1, precision=precision)
    array = random.normal(0, 1, (9, 11, 10)).astype(np.float32)
    listed = [array if number == modality else None for number in range(2)]
    one = replace(small_plan.configuration()[1], network=plain_unet.Spec(*SIZES))
    single = replace(small_plan, configurations={small_plan.default: one}).task()
    found = []
    for model, image in (
        (Model(task, tuple(networks), ("0", "1"), settings), listed),
        (Model(single, tuple(plain), ("0", "1"), settings), array),
    ):
        prepared = model.prepare(opened(image, (2.0, 2.0, 2.0))[0])
        found.append(model.logits(prepared, PredictOptions("full", 0.5)))
    assert found[0].std() > 0.05
    torch.testing.assert_close(*found, atol=2e-2 if precision == "bfloat16" else 1e-5, rtol=1e-3)
