"""Reading out last changes nothing: feature maps are averaged and resampled as the logits of every patch would be."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from run_settings import SETTINGS
from small_models import MANY, MANY_LABELS, OnlyLogits, network

from autoseg.core.geometry import Geometry, Image
from autoseg.core.inputs import InputSpec
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.inference.model import Model
from autoseg.inference.readout import Readout, Slab
from autoseg.inference.sliding_window import SlidingWindow
from autoseg.parts.inputs import prior
from autoseg.parts.inputs._encoding import Encoded
from autoseg.parts.networks.plain_unet import Spec
from autoseg.settings import resolve

MANY_REGIONS = RegionLabels({f"r{n}": (n,) for n in range(1, MANY + 1)}, class_order=tuple(range(1, MANY + 1)))


def logits(networks, image, patch, slices=(0, 5, 20)) -> torch.Tensor:
    sweep = SlidingWindow(
        networks, image, patch, heads=MANY, batch_size=2, mirror_axes=(1, 2), run=resolve(SETTINGS, predicting=True)
    )
    parts = [sweep.read(start, stop) for start, stop in pairwise(slices)]
    return torch.cat([Slab(part, sweep.readout).logits() for part in parts])


@pytest.mark.slow
@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)], ids=["3d", "2d"])
@pytest.mark.parametrize("folds", [1, 2])
def test_maps_summed_over_patches_mirrors_and_folds_have_the_mean_logits(patch, folds):
    networks = [network(seed, len(patch)) for seed in range(folds)]
    image = np.random.default_rng(0).normal(size=(1, 20, 18, 13)).astype(np.float32)
    image[:, 8:] = 0  # where patches are alike and computed once
    assert Readout.of(networks, MANY) is not None
    expected = logits([OnlyLogits(each) for each in networks], image, patch)
    torch.testing.assert_close(logits(networks, image, patch), expected, rtol=1e-4, atol=1e-4)


def test_maps_are_summed_only_where_they_are_fewer_than_heads_and_known():
    assert Readout.of([network(0, heads=5)], 5) is not None
    assert Readout.of([network(0, heads=4)], 4) is None
    assert Readout.of([network(0), network(1), network(2)], MANY) is None
    assert Readout.of([network(0), OnlyLogits(network(1))], MANY) is None


def test_a_later_stage_of_a_cascade_is_read_out_last_too():
    built = network(0)
    torch.manual_seed(1)
    part = prior.Spec("3d_lowres")
    inputs = InputSpec.of_image(1, extras=(part.group(("CT",), ExclusiveLabels({"background": 0, "a": 1, "b": 2})),))
    spec = Spec((4, 6), ((3, 3, 3),) * 2, ((1, 1, 1), (2, 2, 2)), (1, 1), (1,))
    stage = Encoded(spec.build(inputs, MANY), (part,), inputs).eval()
    images = torch.stack((torch.randn(8, 8, 8), torch.randint(0, 3, (8, 8, 8)).float()))[None]
    with torch.inference_mode():
        found = Readout([stage.last])(stage.maps(images).movedim(1, -1)).movedim(-1, 1)
        torch.testing.assert_close(found, stage(images)[0], rtol=1e-5, atol=1e-5)
    assert Readout.of([Encoded(OnlyLogits(built), (part,), inputs)], MANY) is None


def test_pieces_hold_every_voxel_once_in_order(monkeypatch):
    monkeypatch.setattr("autoseg.inference.readout.PIECE_BYTES", 4 * MANY * 7)
    slab = Slab(torch.randn(2, 3, 5, 4), Readout([network(0).last]))
    pieces = list(slab.pieces())
    assert [len(piece) for piece in pieces] == [7, 7, 7, 7, 2]
    torch.testing.assert_close(torch.cat(pieces), slab.logits().flatten(0, 2))


@pytest.mark.slow
@pytest.mark.parametrize("labels", [MANY_LABELS, MANY_REGIONS], ids=["exclusive", "regions"])
@pytest.mark.parametrize("order_logits", [1, 3])
def test_a_model_of_many_labels_decides_as_without_this(small_plan, labels, order_logits):
    configuration = small_plan.configuration()[1]
    resampler = replace(configuration.resampler, order_logits=order_logits)
    plan = replace(
        small_plan, labels=labels, configurations={small_plan.default: replace(configuration, resampler=resampler)}
    )
    image = Image(
        np.random.default_rng(0).normal(size=(1, 31, 22, 25)).astype(np.float32),
        Geometry.plain((31, 22, 25), (1.5, 1.0, 1.0)),
    )
    found, expected = (
        Model(plan.task(), (each,), ("0",), SETTINGS).segment(image, probabilities="float32")
        for each in (network(3), OnlyLogits(network(3)))
    )
    assert len(np.unique(expected.labels)) > 1
    assert np.mean(found.labels != expected.labels) < 1e-3  # rounding may decide a tie
    one, other = (each.results["probabilities"].stored for each in (found, expected))
    np.testing.assert_allclose(one, other, atol=1e-4)
