"""Further inputs: a prior is moved with its image, gets mistakes, and comes as one channel per label."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from tasks import task_of

from autoseg.configuration import AUGMENTATIONS
from autoseg.core.inputs import InputGroup, InputSpec
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.masks import MaskLabels
from autoseg.core.seeds import generator
from autoseg.parts.augmentations import batchgenerators, none, standard
from autoseg.parts.inputs import prior
from autoseg.parts.inputs._damage import OPERATORS, Damage, apply_damage, dilate, draw_damage, erode
from autoseg.training.draws import Draws, PatchMove

LABELS = ExclusiveLabels({"background": 0, "a": 1, "b": 2, "c": 3})
PATCH = (8, 12, 10)
NEVER = prior.Mistakes(change_probability=0, removal_probability=0)


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
@pytest.mark.parametrize("mistakes", [NEVER, prior.Mistakes(change_probability=1)], ids=["true", "mistaken"])
def test_a_prior_is_moved_as_its_image_and_then_gets_its_mistakes(name, mistakes):
    augmentation, part = AUGMENTATIONS.load(name)(), prior.Spec("3d_lowres", mistakes)
    shape = (2, *augmentation.loaded_shape(PATCH))
    targets = torch.zeros(shape, dtype=torch.uint8)
    targets[:, 2:9, 3:9, 4:8], targets[:, 4:7, 8:12, 5:9] = 1, 3
    random = np.random.default_rng(0)
    params = augmentation.draw(random, batch=2, channels=1, mirror_axes=(0, 1, 2), dimensions=3)
    drawn = part.draw(random, batch=2, group=part.group(("CT",), LABELS))
    _, moved = augmentation.apply(targets[:, None].float(), targets, params, PATCH)
    found = part.apply(targets[:, None], moved, drawn, PatchMove(augmentation, params, PATCH))
    assert torch.equal(found[:, 0], apply_damage(moved, drawn, mistakes.removal_below))
    assert torch.equal(found[:, 0], moved) == (mistakes == NEVER)


@pytest.mark.parametrize("augmentation", [none.Spec(), standard.Spec(), batchgenerators.Spec()])
def test_a_prior_changes_nothing_of_what_is_drawn_for_the_image(small_plan, augmentation):
    """It draws after the augmentation, from the same generator, as it always has: a training that was begun goes on."""
    configuration = replace(small_plan.configuration()[1], augmentation=augmentation, batch_size=3)
    cascade = replace(configuration, inputs=(prior.Spec("3d_lowres"),))
    for iteration in range(3):
        found = Draws.of(task_of(small_plan, cascade), 7).of_shard(iteration)
        alone = Draws.of(task_of(small_plan, configuration), 7).of_shard(iteration)
        assert repr(found.params) == repr(alone.params) and alone.inputs == ()
        random = generator(7, "augmentation", iteration)
        augmentation.draw(random, batch=3, channels=1, mirror_axes=(0, 1, 2), dimensions=3)
        assert found.inputs == (draw_damage(prior.Mistakes(), random, 3, 1),)
        assert found.seed == random.integers(2**63)


def test_what_a_network_sees_is_counted_once():
    group = prior.Spec("3d_lowres").group(("CT",), LABELS)
    assert group == InputGroup("prior", "labels", 3) and (group.read, group.seen) == (1, 3)
    spec = InputSpec.of_image(2, 5, (group, InputGroup("clicks", "heat map", 2, optional=True)))
    assert (spec.read, spec.seen, spec.voxel_bytes) == (13, 15, 2 * 10 + 1 + 4 * 2)
    assert [each.name for each in spec.extras] == ["prior", "clicks"] and spec.image.seen == 10
    with pytest.raises(ValueError, match="prior is there twice"):
        InputSpec.of_image(1, extras=(group, group))


@pytest.mark.parametrize("change", [{"radius": (8.0, 1.0)}, {"change_probability": 1.5}, {"removal_below": -0.1}])
def test_impossible_mistakes_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        prior.Mistakes(**change)


@pytest.mark.parametrize("shape", [(30, 26), (14, 18, 16)])
@pytest.mark.parametrize("radius", [0.9, 1.0, 2.7, 8.0])
def test_growing_and_shrinking_by_a_ball_equal_scipy(shape, radius):
    random = np.random.default_rng(0)
    mask = ndimage.binary_opening(random.random(shape) < 0.7)
    reach = np.indices((2 * int(radius) + 1,) * len(shape)) - int(radius)
    ball = (reach**2).sum(0) <= radius**2
    grown = dilate(torch.from_numpy(mask), radius).numpy()
    shrunk = erode(torch.from_numpy(mask), radius).numpy()
    assert np.array_equal(grown, ndimage.binary_dilation(mask, ball))
    assert np.array_equal(shrunk, ndimage.binary_erosion(mask, ball, border_value=1))


def test_a_label_that_grows_covers_others_and_one_that_shrinks_bares_background():
    indices = torch.zeros(1, 1, 20, dtype=torch.uint8)
    indices[..., 4:8], indices[..., 8:12] = 1, 2
    grown = apply_damage(indices, (Damage(((1, "dilate", 2.0),), ()),), 0.15)
    assert grown[0, 0].tolist() == [0] * 2 + [1] * 8 + [2] * 2 + [0] * 8
    shrunk = apply_damage(indices, (Damage(((2, "erode", 1.0),), ()),), 0.15)
    assert shrunk[0, 0].tolist() == [0] * 4 + [1] * 4 + [0] + [2] * 2 + [0] * 9


def test_only_a_small_part_is_removed():
    indices = torch.zeros(1, 10, 10, dtype=torch.uint8)
    indices[0, :2, :2] = indices[0, 2, 2] = indices[0, 9, 9] = indices[0, 4:, :5] = 1  # 5 voxels (by a corner), 1, 30
    kept = [int((apply_damage(indices, (Damage((), ((1, which),)),), 0.15) == 1).sum()) for which in (0.0, 0.49, 0.99)]
    assert kept == [31, 31, 35]
    assert torch.equal(apply_damage(indices, (Damage((), ((1, 0.5),)),), 0.005), indices)


def many_labels(edge=40, labels=117, there=6):
    """A label map of ``there`` balls, a few labels out of many, some of them cut by the border."""
    random, indices = np.random.default_rng(0), np.zeros((edge,) * 3, np.uint8)
    for label in random.choice(np.arange(1, labels + 1), there, replace=False).tolist():
        centre = random.integers(0, edge, (3, 1, 1, 1))
        indices[((np.indices(indices.shape) - centre) ** 2).sum(0) < 36] = label
    return torch.from_numpy(indices)[None]


def test_mistakes_are_those_of_the_whole_patch():
    indices, mistakes = many_labels(24, labels=8), prior.Mistakes(change_probability=1, removal_probability=1)
    touching, changed = ndimage.generate_binary_structure(3, 3), []
    for seed in range(8):
        (done,) = draw_damage(mistakes, np.random.default_rng(seed), 1, 8)
        expected = indices[0].clone()
        for label, operator, radius in done.changed:
            before = expected == label
            after = OPERATORS[operator](before, radius)
            expected[before & ~after], expected[after & ~before] = 0, label
        for label, which in done.removed:
            parts, _ = ndimage.label((expected == label).numpy(), touching)
            small = [part for part in range(1, parts.max() + 1) if (parts == part).sum() < 0.005 * parts.size]
            if small:
                expected[torch.from_numpy(parts == small[int(which * len(small))])] = 0
        assert torch.equal(apply_damage(indices, (done,), 0.005)[0], expected)
        changed.append(not torch.equal(expected, indices[0]))
    assert sum(changed) > 4


def test_labels_that_are_not_in_the_patch_are_not_worked_on(monkeypatch):
    worked = []

    def counted(operator):
        return lambda mask, radius: worked.append(mask) or operator(mask, radius)

    for name, operator in OPERATORS.items():
        monkeypatch.setitem(OPERATORS, name, counted(operator))
    indices, mistakes = many_labels(), prior.Mistakes(change_probability=1, radius=(2, 2))
    (done,) = draw_damage(mistakes, np.random.default_rng(0), 1, 117)
    apply_damage(indices, (done,), 0.15)
    assert len(done.changed) > 40 and 1 <= len(worked) <= 6
    assert max(mask.numel() for mask in worked) <= (11 + 2 * 3) ** 3  # the ball, and the radius and one voxel around


def test_mistakes_are_made_as_often_as_their_probabilities_say():
    damage = draw_damage(prior.Mistakes(), np.random.default_rng(0), 20_000, 3)
    changes = [change for done in damage for change in done.changed]
    shares = {
        "changed": (np.mean([bool(done.changed) for done in damage]), 0.4 * (1 - 0.5**3)),
        "changed labels": (len(changes) / len(damage) / 3, 0.4 * 0.5),
        "removed": (np.mean([bool(done.removed) for done in damage]), 0.2 * (1 - 0.5**3)),
        "first label": (np.mean([label == 1 for label, *_ in changes]), 1 / 3),
        "dilated": (np.mean([operator == "dilate" for _, operator, _ in changes]), 1 / 4),
    }
    assert {name: got for name, (got, wanted) in shares.items() if abs(got - wanted) > 0.015} == {}
    radii = [radius for *_, radius in changes]
    assert 1 <= min(radii) < 1.1 and 7.9 < max(radii) <= 8


def test_masks_of_an_earlier_stage_come_as_a_channel_each():
    labels, part = MaskLabels(tuple(f"m{number}" for number in range(11))), prior.Spec("3d_lowres")
    group = part.group(("CT",), labels)
    assert group == InputGroup("prior", "masks", 11) and (group.read, group.seen) == (1, 11)
    masks = np.random.default_rng(0).random((11, *PATCH)) < 0.4
    whole = torch.from_numpy(labels.joined(masks, PATCH).astype(np.float32))[None, None]
    np.testing.assert_array_equal(part.encode(whole, group)[0], masks)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_mistakes_in_a_mask_leave_the_others_alone(dtype):
    labels = MaskLabels(tuple(f"m{number}" for number in range(8)))
    random = np.random.default_rng(0)
    masks = np.zeros((8, *PATCH), bool)
    for mask in masks:
        z, y, x = random.integers(0, 4, 3)
        mask[z : z + 3, y : y + 5, x : x + 4] = True
    whole = torch.from_numpy(labels.joined(masks, PATCH)).to(dtype)[None]
    mistakes = prior.Mistakes(change_probability=1, removal_probability=1, removal_below=1.0)
    (drawn,) = draw_damage(mistakes, random, 1, 8, masks=True)
    touched = {label for label, *_ in (*drawn.changed, *drawn.removed)}
    assert 0 < len(touched) < 8
    found = apply_damage(whole, [drawn], 1.0)
    assert found.dtype == dtype
    for number, mask in enumerate(masks, 1):
        alone = torch.from_numpy(mask.astype(np.uint8))[None]
        expected = apply_damage(alone, [drawn.of(number)], 1.0)
        assert torch.equal((found >> (number - 1) & 1).to(torch.uint8), expected)
        assert torch.equal(alone, expected) or number in touched
