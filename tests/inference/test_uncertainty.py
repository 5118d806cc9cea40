"""Uncertainty is what the members say, whoever sums it, in the memory that is counted; and it changes no label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from run_settings import SETTINGS
from small_models import (
    EXCLUSIVE,
    GEOMETRY,
    MANY,
    MANY_LABELS,
    REGIONS,
    OnlyLogits,
    bundle,
    image,
    network,
    plan_of,
)  # fmt: skip
from torch import nn

from autoseg.core.geometry import Geometry, Image
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.core.process import MemoryPeak, resident_bytes
from autoseg.corrections import Correction
from autoseg.errors import UnknownPartError, UsageError
from autoseg.inference import members, sliding_window
from autoseg.inference.accumulator import Space
from autoseg.inference.ensemble import Ensemble
from autoseg.inference.entropy import disagreement, entropy, summand
from autoseg.inference.model import Model
from autoseg.inference.options import PredictOptions
from autoseg.inference.outputs import chosen
from autoseg.inference.sliding_window import SlidingWindow
from autoseg.parts.postprocessors import fill_holes
from autoseg.plan import Plan
from autoseg.settings import resolve

RUN = resolve(SETTINGS, predicting=True)
LABELS = [EXCLUSIVE, REGIONS]


def window(networks: Sequence[nn.Module], array: np.ndarray, patch: Sequence[int], labels: Labels, **more):
    axes = more.pop("mirror_axes", (0, 1, 2))
    return SlidingWindow(
        networks, array, patch, heads=labels.heads, batch_size=2, mirror_axes=axes, run=RUN, members_of=labels, **more
    )


def measured(one: SlidingWindow, cuts: Sequence[int]) -> torch.Tensor:
    found = []
    for start, stop in pairwise(cuts):
        one.read(start, stop)
        assert one.disagreement is not None
        found.append(one.disagreement(start, stop))
    return torch.cat(found)


def by_hand(networks: Sequence[nn.Module], patch: np.ndarray, labels: Labels, axes: Sequence[int]) -> torch.Tensor:
    """Of a single patch: every network on every mirror image by itself."""
    flips = [each for size in range(len(axes) + 1) for each in combinations(axes, size)]
    summed = []
    with torch.inference_mode():
        for each in networks:
            for turned in (tuple(axis + 2 for axis in flip) for flip in flips):
                logits = each(torch.from_numpy(patch)[None].flip(turned))[0].flip(turned)
                summed.append(summand(logits[0].movedim(0, -1), labels))
        return disagreement(torch.stack(summed).mean(0), labels)


@pytest.mark.parametrize("labels", [*LABELS, MANY_LABELS], ids=["exclusive", "regions", "read out last"])
@pytest.mark.parametrize("folds", [1, 3])
def test_disagreement_is_that_of_folds_and_mirrored_passes(labels: Labels, folds: int) -> None:
    networks = [network(seed, heads=labels.heads) for seed in range(folds)]
    array = np.random.default_rng(0).normal(size=(1, 8, 12, 10)).astype(np.float32)
    one = window(networks, array, (8, 12, 10), labels)
    assert (one.readout is not None) == (labels is MANY_LABELS and folds < 3)
    found = measured(one, (0, 3, 8))
    torch.testing.assert_close(found, by_hand(networks, array, labels, (0, 1, 2)), rtol=1e-3, atol=1e-5)
    assert found.max() > 0.05


def test_slices_by_themselves_disagree_as_they_are_seen() -> None:
    networks = [network(seed, 2, 3) for seed in range(2)]
    array = np.random.default_rng(0).normal(size=(1, 5, 8, 8)).astype(np.float32)
    found = measured(window(networks, array, (8, 8), EXCLUSIVE), (0, 2, 5))
    for number in range(5):
        expected = by_hand(networks, array[:, number], EXCLUSIVE, (0, 1))
        torch.testing.assert_close(found[number], expected, rtol=1e-3, atol=1e-5)


def test_one_network_that_sees_every_voxel_once_agrees_with_itself() -> None:
    array = np.random.default_rng(0).normal(size=(1, 16, 8, 8)).astype(np.float32)
    alone = window([network(0, heads=3)], array[:, :8], (8, 8, 8), EXCLUSIVE, mirror_axes=())
    assert measured(alone, (0, 8)).max() < 1e-6
    overlapping = window([network(0, heads=3)], array, (8, 8, 8), EXCLUSIVE, mirror_axes=())
    assert measured(overlapping, (0, 16)).max() > 1e-3  # patches that overlap see other surroundings


@pytest.mark.slow
@pytest.mark.parametrize("only_logits", [False, True])
def test_patches_that_are_alike_disagree_as_any_other(monkeypatch: pytest.MonkeyPatch, only_logits: bool) -> None:
    networks = [network(0), network(1)]
    networks = [OnlyLogits(each) for each in networks] if only_logits else networks
    array = np.random.default_rng(0).normal(size=(1, 20, 8, 9)).astype(np.float32)
    array[:, 8:] = 0
    found = measured(window(networks, array, (8, 8, 8), MANY_LABELS), (0, 5, 20))
    monkeypatch.setattr(sliding_window, "KNOWN_BYTES", 0)
    expected = measured(window(networks, array, (8, 8, 8), MANY_LABELS), (0, 5, 20))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("room", [0, 1000, None])
def test_where_sums_lie_changes_nothing(tmp_path: Path, room: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [network(0), network(1)]
    array = np.random.default_rng(0).normal(size=(1, 20, 9, 8)).astype(np.float32)
    expected = measured(window(networks, array, (8, 8, 8), MANY_LABELS, mirror_axes=(0,)), (0, 20))
    monkeypatch.setattr(members, "PIECE_BYTES", 4 * MANY * 31)
    monkeypatch.setattr(sliding_window, "SUMMED_BYTES", 1)
    limited = window(networks, array, (8, 8, 8), MANY_LABELS, mirror_axes=(0,), space=Space(room, tmp_path))
    torch.testing.assert_close(measured(limited, (0, 7, 8, 20)), expected, rtol=0, atol=0)


def models(plan: Plan, folder: Path, labels: Labels) -> dict[str, Model | Ensemble]:
    plan = plan_of(plan, labels)
    return {
        name: Model.read(bundle(folder / name, plan, ensemble), settings=SETTINGS)
        for name, ensemble in {"one": {"3d_fullres": 1.0}, "ensemble": {"3d_fullres": 0.75, "2d": 0.25}}.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("labels", LABELS, ids=["exclusive", "regions"])
@pytest.mark.parametrize("kind", ["one", "ensemble"])
def test_uncertainty_lies_on_the_files_grid_and_changes_nothing_else(
    small_plan: Plan, tmp_path: Path, labels: Labels, kind: str
) -> None:
    model = models(small_plan, tmp_path, labels)[kind]
    found = model.segment(image(), outputs=("uncertainty",), probabilities="float32")
    plain = model.segment(image(), probabilities="float32")
    np.testing.assert_array_equal(found.labels, plain.labels)
    chances = plain.results["probabilities"].values
    np.testing.assert_array_equal(found.results["probabilities"].values, chances)
    uncertainty = found.results["uncertainty"]
    assert uncertainty.names == ("entropy", "disagreement")
    assert uncertainty["entropy"].shape == uncertainty["disagreement"].shape == GEOMETRY.shape
    logits = torch.from_numpy(chances).movedim(0, -1)
    expected = entropy(logits.logit() if isinstance(labels, RegionLabels) else logits.log(), labels)
    np.testing.assert_allclose(uncertainty["entropy"], expected, atol=1e-3)
    assert not uncertainty.values[:, 0].any()  # cropped away: certainly background
    assert 0.01 < uncertainty["disagreement"].max() <= 1.6


@pytest.mark.slow
def test_an_ensembles_disagreement_is_that_within_and_that_between_configurations(
    small_plan: Plan, tmp_path: Path
) -> None:
    both = models(small_plan, tmp_path, EXCLUSIVE)["ensemble"]
    assert isinstance(both, Ensemble)
    asked = {"outputs": ("uncertainty",), "probabilities": "float32"}
    alone = [member.segment(image(), **asked) for member in both.members]
    chances = np.stack([each.results["probabilities"].values for each in alone]).clip(1e-30)
    weights = np.array(both.weights)

    def bits(values: np.ndarray) -> np.ndarray:
        return -(values * np.log2(values)).sum(-4)

    mean = np.einsum("m,m...->...", weights, chances)
    between = bits(mean) - np.einsum("m,m...->...", weights, bits(chances))
    within = sum(weight * each.results["uncertainty"]["disagreement"] for weight, each in zip(weights, alone))
    found = both.segment(image(), **asked).results["uncertainty"]["disagreement"]
    np.testing.assert_allclose(found, within + between, atol=1e-3)
    assert between.max() > 0.01


def test_cubic_interpolation_never_gives_less_than_none(small_plan: Plan) -> None:
    configuration = small_plan.configuration()[1]
    cubic = replace(configuration, resampler=replace(configuration.resampler, order_logits=3))
    plan = replace(small_plan, labels=MANY_LABELS, configurations={small_plan.default: cubic})
    model = Model(plan.task(), (network(0), network(1)), ("0", "1"), SETTINGS)
    array = np.random.default_rng(0).normal(size=(1, 31, 22, 25)).astype(np.float32)
    found = model.segment(Image(array, Geometry.plain((31, 22, 25), (1.5, 1.0, 1.0))), outputs=("uncertainty",))
    assert 0.01 < found.results["uncertainty"]["disagreement"].max() < 3.6  # a code below 0 would become a large one


def test_members_are_summed_only_where_somebody_asks(small_plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object) -> torch.Tensor:
        raise AssertionError("nobody asked")

    monkeypatch.setattr(members, "summand", asked)
    model = Model(small_plan.task(), (network(0, heads=2),), ("0",), SETTINGS)
    model.segment(image(), probabilities="float32")
    with pytest.raises(AssertionError, match="nobody asked"):
        model.segment(image(), outputs=("uncertainty",))


@pytest.mark.slow
@pytest.mark.skipif(resident_bytes() == 0, reason="the system does not tell what a process holds")
@pytest.mark.parametrize("in_file", [False, True])
def test_uncertainty_of_many_labels_takes_no_more_than_is_counted(
    small_plan: Plan, tmp_path: Path, in_file: bool
) -> None:
    labels = ExclusiveLabels({"background": 0, **{f"organ {number}": number for number in range(1, 80)}})
    configuration = replace(small_plan.configuration()[1], patch_size=(24, 64, 64))
    plan = replace(small_plan, labels=labels, configurations={small_plan.default: configuration}, axis_order=(0, 1, 2))
    model = Model(plan.task(), (network(0, heads=80),), ("0",), SETTINGS)
    array = np.random.default_rng(0).normal(size=(1, 24, 192, 192)).astype(np.float32)
    case = Image(array, Geometry.plain((24, 192, 192), (2.0,) * 3))
    outputs, options = chosen(["uncertainty"]), PredictOptions("none", step=1)
    prepared = model.prepare(case)
    small = model.prepare(Image(array[:, :24, :64, :64].copy(), Geometry.plain((24, 64, 64), (2.0,) * 3)))
    model.decide(small, options, outputs)  # what libraries load at their first use is no image's
    need = model.need(case.geometry, outputs, in_file=in_file)
    assert need.window > 4 * 80 * 24 * 192 * 192  # probabilities of all labels are counted
    taken_at_most = need.total(need.fixed if in_file else need.fixed + need.window)
    assert (taken_at_most < need.window) == in_file
    space = Space(0 if in_file else None, tmp_path)
    peak = MemoryPeak()
    model.decide(prepared, options, outputs, folder=tmp_path if in_file else None, space=space)
    taken = peak.bytes()
    if taken is None:
        pytest.skip("the system does not tell the peak")
    assert taken < taken_at_most


def test_what_outputs_take_is_counted_beside_the_networks(small_plan: Plan) -> None:
    model = Model(small_plan.task(), (network(0, heads=2),), ("0",), SETTINGS)
    geometry = Geometry.plain((40, 50, 60), (2.0,) * 3)
    alone = model.need(geometry)
    assert model.need(geometry, chosen()) == alone
    slab = 4 * 2 * 40 * 50 * 60  # the whole is small enough
    stored = model.need(geometry, chosen(probabilities="uint16"), in_file=False)
    assert stored == replace(alone, fixed=alone.fixed + 4 * slab + 2 * 2 * 40 * 50 * 60)
    assert model.need(geometry, chosen(probabilities="uint16")).fixed == alone.fixed + 4 * slab
    unsure = model.need(geometry, chosen(["uncertainty"]))
    assert unsure.window == alone.window * (2 + 3) // 2  # two probabilities and an entropy beside two logits
    fills = replace(model, postprocessing=(Correction("organ", fill_holes.Spec()),))
    assert fills.need(geometry, chosen(["uncertainty"])).correcting == unsure.fixed + 8 * 40 * 50 * 60


def test_an_array_has_probabilities_and_results_too(small_plan: Plan) -> None:
    model = Model(small_plan.task(), (network(0, heads=2),), ("0",), SETTINGS)
    array = np.random.default_rng(0).normal(size=(9, 11, 10)).astype(np.float32)
    found = model.segment(array, spacing=(2.0, 2.0, 2.0), probabilities="float32")
    np.testing.assert_allclose(found.results["probabilities"].values.sum(0), 1, atol=1e-5)
    again = model.predict(array, spacing=(2.0, 2.0, 2.0), outputs=("uncertainty", "probabilities"))
    assert list(again.results) == ["label_map", "uncertainty", "probabilities"]
    np.testing.assert_array_equal(again.labels, model.predict(array, spacing=(2.0, 2.0, 2.0)))
    np.testing.assert_allclose(
        again.results["probabilities"]["organ"], found.results["probabilities"]["organ"], atol=0.01
    )


@pytest.mark.parametrize(
    ("outputs", "error"),
    [
        (("certainty",), UnknownPartError),
        (("os.path",), UnknownPartError),
        (("../uncertainty",), UnknownPartError),
        ("uncertainty", UsageError),
        ((3,), UsageError),
        (("stored_probabilities",), UsageError),  # which are files
    ],
)
def test_outputs_that_there_are_not_are_refused(small_plan: Plan, outputs: tuple[str, ...], error: type) -> None:
    model = Model(small_plan.task(), (network(0, heads=2),), ("0",), SETTINGS)
    with pytest.raises(error):
        model.segment(image(), outputs=outputs)
    with pytest.raises(UsageError):
        model.segment(image(), probabilities="uint4")
