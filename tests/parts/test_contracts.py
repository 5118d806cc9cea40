"""Every part of every family keeps its family's contract: what it is called, what it takes, and what it gives back."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tasks import task_of
from torch.utils._pytree import tree_leaves

from autoseg import parts
from autoseg.configuration import (
    AUGMENTATIONS,
    FILTERS,
    INPUTS,
    LOSSES,
    NETWORKS,
    NORMALIZERS,
    OBJECTIVES,
    OPTIMIZERS,
    RESAMPLERS,
    SCHEDULES,
    Configuration,
)
from autoseg.core.family import Family
from autoseg.core.geometry import Box
from autoseg.core.inputs import InputSpec
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.core.records import from_json, to_json
from autoseg.core.samples import STREAMS, BuiltObjective, Samples
from autoseg.corrections import POSTPROCESSORS
from autoseg.evaluation.scores import METRICS
from autoseg.parts import contracts
from autoseg.parts.baseline_contract import Baseline
from autoseg.parts.explanation_contract import Explanation
from autoseg.parts.inputs import prior
from autoseg.parts.networks import multi_encoder_unet, plain_unet, residual_unet, segresnet_vae, unpaired_unet
from autoseg.parts.normalizers import ct, histogram
from autoseg.parts.postprocessors import minimum_size
from autoseg.pipeline.baseline import BASELINES
from autoseg.pipeline.explain import EXPLANATIONS
from autoseg.plan import Plan
from autoseg.preprocessing.locations import Locations
from autoseg.training.deep_supervision import DeepSupervision
from autoseg.training.draws import PatchMove

FAMILIES: dict[type, Family] = {
    contracts.Filter: FILTERS,
    contracts.Normalizer: NORMALIZERS,
    contracts.Resampler: RESAMPLERS,
    contracts.Network: NETWORKS,
    contracts.Input: INPUTS,
    contracts.Loss: LOSSES,
    contracts.Objective: OBJECTIVES,
    contracts.Augmentation: AUGMENTATIONS,
    contracts.Optimizer: OPTIMIZERS,
    contracts.Schedule: SCHEDULES,
    contracts.Metric: METRICS,
    contracts.Postprocessor: POSTPROCESSORS,
    Baseline: BASELINES,
    Explanation: EXPLANATIONS,
}
PARTS = [(contract, family, name) for contract, family in FAMILIES.items() for name in family]
SIZES: dict[str, Any] = {"features": (4, 8), "kernels": ((3, 3, 3),) * 2, "strides": ((1, 1, 1), (2, 2, 2)),
                         "blocks_encoder": (1, 1), "blocks_decoder": (1,)}  # fmt: skip
NEEDED: dict[Any, dict[str, Any]] = {
    plain_unet.Spec: SIZES,
    residual_unet.Spec: SIZES,
    multi_encoder_unet.Spec: SIZES,
    unpaired_unet.Spec: SIZES,
    ct.Spec: {"mean": 10.0, "std": 20.0, "percentile_00_5": -50.0, "percentile_99_5": 80.0},
    histogram.Spec: {"landmarks": tuple(range(-5, 6))},
    minimum_size.Spec: {"size": 10.0},
    prior.Spec: {"previous": "3d_lowres"},
}
FOR_OBJECTIVES = {"vae": segresnet_vae.Spec(3, 8, (1, 1), (1,), (8, 8, 8), latent=4)}
LABELS = [ExclusiveLabels({"background": 0, "a": 1, "b": 2}), RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2))]


def made(family: Family, name: str) -> Any:
    """With its defaults; with sizes where there are none: a further network in the first of its ladder."""
    spec = family.load(name)
    if family is NETWORKS and spec not in NEEDED:
        return spec.ladder((1.0, 1.0, 1.0), (64, 64, 64))[0]
    return spec(**NEEDED.get(spec, {}))


@pytest.mark.parametrize(("contract", "family", "name"), PARTS, ids=[f"{f.package[14:]}.{n}" for _, f, n in PARTS])
def test_a_part_has_all_that_its_contract_names(contract: type, family: Family, name: str) -> None:
    part = made(family, name)
    assert isinstance(part, contract)
    for method, wanted in inspect.getmembers(contract, inspect.isfunction):
        if method.startswith("_"):
            continue
        given = inspect.signature(getattr(type(part), method)).parameters
        assert [*given] == [*inspect.signature(wanted).parameters], f"{method} takes other arguments"


@pytest.mark.parametrize(("contract", "family", "name"), PARTS, ids=[f"{f.package[14:]}.{n}" for _, f, n in PARTS])
def test_a_part_is_a_frozen_record_that_says_what_it_is(contract: type, family: Family, name: str) -> None:
    part = made(family, name)
    assert dataclasses.is_dataclass(part) and part.__dataclass_params__.frozen
    assert importlib.import_module(type(part).__module__).__doc__
    assert from_json(type(part), to_json(part)) == part
    assert family.name_of(part) == name


def test_the_fields_of_a_configuration_are_typed_by_contracts() -> None:
    """And no family of parts is without one."""
    types = inspect.get_annotations(Configuration, eval_str=True)
    by_package = {family.package: contract for contract, family in FAMILIES.items()}
    for field in dataclasses.fields(Configuration):
        if family := field.metadata.get("family"):
            kind = types[field.name]
            inside = get_args(kind)
            assert by_package[family.package] in (kind, *inside, *(each for held in inside for each in get_args(held)))
    there = {module.name for module in pkgutil.iter_modules(parts.__path__, "autoseg.parts.") if module.ispkg}
    assert there == {*by_package, "autoseg.parts.readers"}


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(24, 26, 28), (1, 40, 38), (1, 1, 1)], ids=["volume", "slice", "voxel"])
@pytest.mark.parametrize("name", list(FILTERS))
def test_a_filter_keeps_shape_and_what_it_was_given(name: str, shape: tuple[int, ...]) -> None:
    channel = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    channel[..., : shape[-1] // 3] = 0
    before, part, spacing = channel.copy(), made(FILTERS, name), (3.0, 1.0, 0.7)
    result = part.apply(channel, spacing)
    assert result.shape == shape and result.dtype == np.float32 and np.isfinite(result).all()
    np.testing.assert_array_equal(channel, before)
    if hasattr(part, "estimate"):
        kept = part.estimate(channel, spacing)
        np.testing.assert_array_equal(part.apply_estimate(channel, spacing, kept), result)


@pytest.mark.parametrize("name", list(NORMALIZERS))
def test_a_normalizer_keeps_shape_and_what_it_was_given(name: str) -> None:
    channel = np.random.default_rng(0).normal(100, 20, (4, 5, 6)).astype(np.float32)
    if name == "rgb":
        channel = channel.clip(0, 255)
    before = channel.copy()
    result = made(NORMALIZERS, name).apply(channel, channel > 90)
    assert result.shape == channel.shape and result.dtype == np.float32 and np.isfinite(result).all()
    np.testing.assert_array_equal(channel, before)


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_network_is_a_ladder_of_sizes_that_can_be_built(name: str, dimensions: int, small_plan: Plan) -> None:
    """For a patch that is no multiple of the divisor; weights are without values."""
    kind, asked, spacing = NETWORKS.load(name), (50, 70, 61)[-dimensions:], (2.5, 1.0, 0.8)[-dimensions:]
    try:
        ladder = kind.ladder(spacing, asked)
    except ValueError as error:
        pytest.skip(str(error))
    patch, weights = tuple(-(-edge // step) * step for edge, step in zip(asked, ladder[0].divisor)), []
    for size in ladder:
        seen = replace(small_plan.configurations["3d_fullres"], network=size, patch_size=patch)
        with torch.device("meta"):
            network = replace(task_of(small_plan, seen), channels=("T1", "T2")).network()
        weights.append(sum(weight.numel() for weight in network.parameters()))
        assert 0 < size.blocks <= len(network.state_dict())
    assert len(ladder) > 1 and weights == sorted(weights)


def test_a_part_of_ones_own_that_leaves_out_an_ability_has_the_default_of_its_contract() -> None:
    spec = NETWORKS.load("mylab.no_ladder", ("mylab",))
    assert spec().blocks == 0 and len(spec.ladder((1.0, 1.0), (8, 8))) == 0
    spec().check_inputs(InputSpec.of_image(1))
    assert isinstance(spec(), contracts.Network)


@pytest.mark.parametrize("labels", LABELS, ids=["exclusive", "regions"])
@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_is_less_where_the_network_is_right(name: str, labels: Any) -> None:
    spec = made(LOSSES, name)
    target = torch.zeros(2, 8, 8, 8, dtype=torch.uint8)
    target[:, 2:5, 2:5, 2:5], target[:, 5:7, 2:5, 2:5] = 1, 2
    right = torch.from_numpy(labels.index_table.astype(np.float32))[:, target.long()].movedim(0, 1) * 12 - 6
    loss = spec.build(labels)
    wrong = right.flip(2).clone().requires_grad_()
    value = loss(wrong, target)
    value.backward()
    assert value.ndim == 0 and torch.isfinite(value) and wrong.grad is not None and torch.isfinite(wrong.grad).all()
    assert loss(right, target) < value


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OBJECTIVES, "own_parts.mean_teacher"])
def test_an_objective_measures_each_patch_judges_all_and_goes_on_from_its_state(name: str) -> None:
    torch.manual_seed(0)
    spec, labels = OBJECTIVES.load(name, ("own_parts",))(), LABELS[0]
    assert spec.streams and set(spec.streams) <= set(STREAMS)
    network = FOR_OBJECTIVES.get(name, made(NETWORKS, "plain_unet")).build(InputSpec.of_image(1), labels.heads)
    supervision = DeepSupervision.of(made(LOSSES, "dice_ce").build(labels))
    objective, again = (spec.build(supervision, labels, network, InputSpec.of_image(1)) for _ in range(2))
    targets, seen = torch.randint(0, 3, (4, 8, 8, 8)), InputSpec.of_image(1)
    samples = Samples(targets[:, None].float(), targets, ("a", "b", "c", "d"), (1.0, 1.0, 1.0), seen)

    def forward(images: torch.Tensor, other: Any = None) -> Any:
        return network(images) if other is None else other(images)

    def measured(one: BuiltObjective, part: Samples) -> Any:
        torch.manual_seed(0)
        return one.measure(forward, dict.fromkeys(spec.streams, part), 0.5)

    halves = [tree_leaves(measured(objective, part)) for part in samples.split(2)]
    for whole, first, second in zip(tree_leaves(measured(objective, samples)), *halves):
        assert len(whole) == 4 and whole.shape == torch.cat((first, second)).shape
    optimizer, losses = torch.optim.SGD(network.parameters(), 0.1), []
    for _ in range(8):
        optimizer.zero_grad()
        loss = objective.judge(measured(objective, samples))
        loss.backward()
        optimizer.step()
        objective.after_step(network)
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    again.load_state_dict(objective.state_dict())
    assert torch.equal(*(one.judge(measured(one, samples)) for one in (objective, again)))


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_an_augmentation_gives_patches_and_the_same_for_the_same_draw(name: str) -> None:
    spec, patch = made(AUGMENTATIONS, name), (8, 8, 8)
    results = []
    for _ in range(2):
        params = spec.draw(np.random.default_rng(3), batch=2, channels=1, mirror_axes=(0, 1, 2), dimensions=3)
        read = [spec.needed_shape(params, number, patch) for number in range(2)]
        assert all(a <= b for shape in read for a, b in zip(shape, spec.loaded_shape(patch)))
        grid = [torch.arange(float(np.prod(shape))).reshape(1, *shape) for shape in read]
        maps = [(each[0] % 3).to(torch.uint8) for each in grid]
        torch.manual_seed(0)
        images, targets = spec.apply(grid, maps, params, patch)
        assert images.shape == (2, 1, *patch) and images.dtype == torch.float32
        assert targets.shape == (2, *patch) and set(targets.unique().tolist()) <= {0, 1, 2}
        results.append((images, targets))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


class Indices:
    """A case of label indices 0, 1 and 2, in training and to be predicted."""

    shape, channels, absent, given = (12, 12, 12), 1, (), None
    image = np.zeros((1, 12, 12, 12), np.float32)
    foreground = Locations.of({1: np.array([[3, 4, 5]])})

    def predicted(self, box: Box | None = None) -> np.ndarray:
        return np.indices(self.shape if box is None else box.shape).sum(0).astype(np.uint8) % 3

    def points(self, points: np.ndarray) -> np.ndarray:
        return points


@pytest.mark.parametrize("labels", LABELS, ids=["exclusive", "regions"])
@pytest.mark.parametrize("name", list(INPUTS))
def test_an_input_is_what_its_group_says_from_the_case_to_the_network(name: str, labels: Any) -> None:
    part, patch, augmentation = made(INPUTS, name), (8, 8, 8), made(AUGMENTATIONS, "none")
    group, case = part.group(("CT",), labels), Indices()
    array, made_for_prediction = part.read(case, Box((0, 0, 0), patch)), part.make(case)
    assert (array is None and group.optional) or array.shape == (group.read, *patch)
    assert (made_for_prediction is None and group.optional) or made_for_prediction.shape == (group.read, *case.shape)
    read = torch.from_numpy(np.zeros((group.read, *patch), np.float32) if array is None else array.copy())
    targets, move = torch.zeros(2, *patch, dtype=torch.uint8), PatchMove(augmentation, None, patch)
    results = []
    for _ in range(2):
        drawn = part.draw(np.random.default_rng(3), batch=2, group=group)
        assert len(drawn) == 2
        results.append(part.apply([read, read.clone()], targets, drawn, move))
    assert results[0].shape == (2, group.read, *patch) and torch.equal(*results)
    assert part.encode(results[0].float(), group).shape == (2, group.seen, *patch)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_an_optimizer_makes_a_loss_smaller(name: str) -> None:
    torch.manual_seed(0)
    layer, images = torch.nn.Linear(4, 4), torch.randn(32, 4)
    optimizer = made(OPTIMIZERS, name).build(layer.parameters())
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (layer(images) - images).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and made(OPTIMIZERS, name).learning_rate > 0


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_a_schedule_ends_far_below_its_begin(name: str) -> None:
    schedule = made(SCHEDULES, name)
    factors = [schedule.factor(step / 1000, 10**6 + step) for step in range(1000)]
    assert max(factors) <= 1 and factors[-1] < 0.1 and factors[0] > factors[500] > factors[-1] >= 0


@pytest.mark.parametrize("name", list(METRICS))
def test_a_metric_is_best_for_equal_masks(name: str) -> None:
    mask, metric = np.zeros((8, 8, 8), bool), made(METRICS, name)
    mask[2:6, 2:6, 2:6] = True
    same, moved = (metric.score(mask, np.roll(mask, by, 0), (2.0, 1.0, 1.0)) for by in (0, 2))
    assert same.keys() == moved.keys() and all(isinstance(key, str) for key in same) and same != moved


@pytest.mark.parametrize("name", list(POSTPROCESSORS))
def test_a_postprocessor_leaves_what_it_was_given(name: str) -> None:
    mask = np.random.default_rng(0).random((6, 7, 8)) > 0.6
    before = mask.copy()
    for part in POSTPROCESSORS.load(name).candidates():
        result = part.apply(mask, (1.0, 1.0, 1.0))
        assert result.dtype == bool and result.shape == mask.shape
        np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize("name", ["nifti", "simpleitk", "tiff", "natural_image"])
def test_a_reader_is_a_module_with_all_that_its_contract_names(name: str) -> None:
    reader = importlib.import_module(f"autoseg.parts.readers.{name}")
    assert isinstance(reader, contracts.Reader)
