"""How far predictions agree with themselves, and folds with each other, by hand; nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from run_settings import SETTINGS
from small_models import EXCLUSIVE, MANY_LABELS, REGIONS, OnlyLogits, bundle, image, network, plan_of

from autoseg.core.labels import ExclusiveLabels, Labels
from autoseg.core.masks import MaskLabels
from autoseg.inference import fold_pairs
from autoseg.inference.fold_pairs import FoldPairs
from autoseg.inference.model import Model
from autoseg.inference.outputs import AGREEMENT, LABEL_MAP, OutputContext, chosen
from autoseg.inference.outputs.agreement import AgreementSums, Spec
from autoseg.inference.readout import Slab
from autoseg.inference.sliding_window import SlidingWindow
from autoseg.plan import Plan
from autoseg.settings import resolve

RUN = resolve(SETTINGS, predicting=True)
MASKS = MaskLabels(("one", "two"))
ONE_LABEL = ExclusiveLabels({"background": 0, "organ": 1})


def test_expected_dice_by_hand() -> None:
    """Of the organ p is 0.9, 0.6, 0.2 and 0; two voxels are decided to be it: 2 (0.9 + 0.6) / (1.7 + 2)."""
    sums = AgreementSums(ONE_LABEL)
    chances = torch.tensor([[0.1, 0.9], [0.4, 0.6], [0.8, 0.2], [1.0, 0.0]])
    sums.add(chances[:2], torch.tensor([1, 1]))
    sums.add(chances[2:], torch.tensor([0, 0]))
    assert sums.expected_dice() == {"organ": pytest.approx(2 * 1.5 / 3.7)}


def test_of_a_label_that_is_not_predicted_nothing_is_said() -> None:
    sums = AgreementSums(EXCLUSIVE)
    sums.add(torch.tensor([[0.1, 0.8, 0.1], [0.6, 0.2, 0.2]]), torch.tensor([1, 0]))
    assert sums.expected_dice() == {"organ": pytest.approx(2 * 0.8 / (1 + 1)), "lesion": None}


def test_regions_count_as_they_are_painted() -> None:
    """The core paints over the whole and belongs to it, whatever the whole's own head says."""
    sums = AgreementSums(REGIONS)  # whole: 1 and 2, core: 2
    sums.add(torch.tensor([[0.4, 0.9], [0.7, 0.1], [0.2, 0.3]]), torch.tensor([2, 1, 0]))
    assert sums.expected_dice() == {
        "whole": pytest.approx(2 * (0.4 + 0.7) / (1.3 + 2)),
        "core": pytest.approx(2 * 0.9 / (1.3 + 1)),
    }


def test_masks_that_overlap_count_each_for_itself() -> None:
    sums = AgreementSums(MASKS)
    sums.add(torch.tensor([[0.9, 0.8], [0.6, 0.1]]), torch.tensor([3, 1]))
    assert sums.expected_dice() == {
        "one": pytest.approx(2 * 1.5 / (1.5 + 2)),
        "two": pytest.approx(2 * 0.8 / (0.9 + 1)),
    }


@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS, MASKS], ids=lambda labels: labels.KIND)
def test_slabs_and_pieces_add_up_and_what_is_surely_background_hardly_matters(
    labels: Labels, small_plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = plan_of(small_plan, labels).task("3d_fullres")
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 4, (6, 7, 5, labels.heads)).astype(np.float32))
    monkeypatch.setattr("autoseg.inference.outputs.agreement.PIECE_BYTES", 100)
    with Spec().open(OutputContext(task, None, None)) as writer:  # type: ignore[arg-type]
        writer.take(slice(0, 2), Slab(logits[:2]))
        writer.take(slice(2, 6), Slab(logits[2:]))
        found = writer.close()
    whole = AgreementSums(labels)
    flat = logits.flatten(0, 2)
    whole.add(labels.probabilities(flat), labels.winners(flat))
    assert {*found} == {*labels.foreground}
    for name, expected in whole.expected_dice().items():
        assert found[name].expected_dice == pytest.approx(expected, abs=1e-3) and found[name].fold_dice is None


def by_hand(networks: list, patch: np.ndarray, labels: Labels) -> dict[str, float]:
    """Of a single patch that is the whole image: Dice of any two label maps."""
    with torch.inference_mode():
        logits = [each(torch.from_numpy(patch)[None])[0][0].movedim(0, -1) for each in networks]
    maps = [labels.written[labels.winners(each).numpy()] for each in logits]
    found = {}
    for name, values in labels.foreground.items():
        pairs = []
        for one, other in combinations([np.isin(each, values) for each in maps], 2):
            if one.any() or other.any():
                pairs.append(2 * np.count_nonzero(one & other) / (one.sum() + other.sum()))
        found[name] = float(np.mean(pairs)) if pairs else None
    return found


@pytest.mark.parametrize(
    "labels", [EXCLUSIVE, REGIONS, MASKS, MANY_LABELS], ids=["exclusive", "regions", "masks", "many"]
)
@pytest.mark.parametrize("only_logits", [False, True], ids=["read out", "logits"])
def test_dice_between_folds_is_that_of_their_label_maps(
    labels: Labels, only_logits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_pairs, "AT_ONCE", 100)  # of 960 voxels
    networks = [network(seed, heads=labels.heads) for seed in range(3)]
    given = [OnlyLogits(each) for each in networks] if only_logits else networks
    array = np.random.default_rng(0).normal(size=(1, 8, 12, 10)).astype(np.float32)
    pairs = FoldPairs(labels)
    SlidingWindow(  # one patch sees all, so that each voxel counts 1
        given,
        array,
        (8, 12, 10),
        heads=labels.heads,
        batch_size=2,
        mirror_axes=(0, 1, 2),
        run=RUN,
        pairs=pairs.window(3),
    ).read(0, 8)
    found, expected = pairs.dice(), by_hand(networks, array, labels)
    for name, dice in expected.items():
        assert found[name] == (None if dice is None else pytest.approx(dice, abs=1e-5))
    assert any(dice is not None and 0 < dice < 1 for dice in expected.values())


def test_one_fold_has_no_other_to_agree_with() -> None:
    pairs = FoldPairs(EXCLUSIVE)
    assert pairs.window(1) is None and pairs.dice() == {}


def test_folds_that_are_alike_agree_in_patches_that_overlap() -> None:
    array = np.random.default_rng(0).normal(size=(1, 20, 9, 8)).astype(np.float32)
    pairs = FoldPairs(EXCLUSIVE)
    SlidingWindow(
        [network(0, heads=3)] * 2, array, (8, 8, 8), heads=3, batch_size=4, mirror_axes=(0,), run=RUN,
        pairs=pairs.window(2),
    ).read(0, 20)  # fmt: skip
    found = pairs.dice()
    assert found["organ"] == pytest.approx(1) and found["lesion"] == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", [{"3d_fullres": 1.0}, {"3d_fullres": 0.5, "2d": 0.5}], ids=["one", "two"])
def test_label_maps_and_other_outputs_stay_the_same_bits(
    small_plan: Plan, tmp_path: Path, ensemble: dict[str, float]
) -> None:
    plan = plan_of(small_plan, EXCLUSIVE)
    if len(ensemble) == 1:
        plan = replace(plan, configurations={"3d_fullres": plan.configurations["3d_fullres"]})
    model = Model.read(bundle(tmp_path / "model.zip", plan, ensemble), settings=SETTINGS)
    without = model.segment(image(), outputs=["uncertainty"], probabilities="float32")
    found = model.segment(image(), outputs=["uncertainty", AGREEMENT], probabilities="float32")
    np.testing.assert_array_equal(found.results[LABEL_MAP], without.results[LABEL_MAP])
    for name in ("uncertainty", "probabilities"):
        np.testing.assert_array_equal(found.results[name].stored, without.results[name].stored)
    for each in found.results[AGREEMENT].values():
        assert each.expected_dice is None or 0 < each.expected_dice < 1
        assert each.fold_dice is not None and 0 <= each.fold_dice < 1
    probabilities = found.results["probabilities"]
    organ, decided = probabilities["organ"].astype(float), found.labels == 7
    expected = 2 * organ[decided].sum() / (organ.sum() + decided.sum())
    assert found.results[AGREEMENT]["organ"].expected_dice == pytest.approx(expected, abs=2e-3)


def test_it_costs_no_file_and_little_memory(small_plan: Plan) -> None:
    task = plan_of(small_plan, EXCLUSIVE).task("3d_fullres")
    output = chosen([AGREEMENT])[AGREEMENT]
    assert output.files("case", task) == () and output.fold_pairs
    assert output.need(task, image().geometry, True).fixed < 1 << 26
