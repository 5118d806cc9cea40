"""Laws of patch sampling."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import task_of

from autoseg.configuration import AUGMENTATIONS, TrainingRules
from autoseg.core.geometry import Box
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.machine import memory_bytes
from autoseg.parts.augmentations import standard
from autoseg.parts.inputs import prior
from autoseg.parts.networks import plain_unet
from autoseg.preprocessing.locations import Locations, class_locations
from autoseg.settings import RunSettings, resolve
from autoseg.training.batches import PatchSampler, batches, training_sampler
from autoseg.training.cases import CaseCache, CaseInMemory, read_padded, read_slices
from autoseg.training.step import Step

ORGAN = ExclusiveLabels({"background": 0, "organ": 1})
NOWHERE = Locations.of({})


def case(shape=(12, 20, 16), seed=0, voxels=((3, 4, 5),)):
    random = np.random.default_rng(seed)
    image = random.standard_normal((2, *shape)).astype(np.float16)
    return CaseInMemory(image, np.zeros(shape, np.uint8), Locations.of({1: np.array(voxels)}))


def numbered(shape):
    """A case whose single channel holds each voxel's number, so that a patch tells where it was."""
    image = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(1, *shape)
    return CaseInMemory(image, np.ones(shape, np.uint8), NOWHERE)


def sampler(cases, *, read=(12, 12, 12), **changes):
    """Reads ``read`` voxels of every patch."""
    chosen = PatchSampler(cases, tuple(cases), (8, 8, 8), 2)
    return replace(chosen, **{"shapes": lambda number: [read] * 1000} | changes)


def same(first, second):
    """Whether two batches hold the same patches."""
    pairs = [*zip(first.images, second.images, strict=True), *zip(first.targets, second.targets, strict=True)]
    return first.keys == second.keys and all(torch.equal(a, b) for a, b in pairs)


def test_a_batch_depends_on_seed_purpose_and_number_only():
    cases = {f"case{i}": case(seed=i) for i in range(5)}
    first, again = sampler(cases), sampler(CaseCache(cases))
    for number in (0, 7, 100):
        assert same(first.batch(number), again.batch(number))
    both = replace(first, balance=0.5, components=0.5, oversampling=1.0, holders={1: ("case0", "case3")})
    assert same(both.batch(7), replace(both, cases=CaseCache(cases)).batch(7))
    others = (first.batch(8), sampler(cases, seed=1).batch(7), sampler(cases, purpose="other").batch(7))
    assert not any(same(first.batch(7), other) for other in others)


def test_batches_come_in_order_from_any_number_of_threads():
    cases = {f"case{i}": case(seed=i) for i in range(5)}
    source = batches(sampler(cases), 3, workers=3, ahead=2)
    got = [batch.keys for batch in islice(source, 6)]
    source.close()
    assert got == [sampler(cases).batch(number).keys for number in range(3, 9)]


class Watched:
    """A case that tells ``seen`` what is read of it, before it is."""

    def __init__(self, inner, seen):
        self.inner, self.seen = inner, seen
        self.shape, self.channels, self.foreground = inner.shape, inner.channels, inner.foreground
        self.absent = inner.absent

    def read(self, box):
        self.seen(box)
        return self.inner.read(box)


def test_the_patches_of_one_batch_are_read_by_several_threads():
    all_at_once, threads = threading.Barrier(4, timeout=60), {}

    def watched(name):
        def seen(box):
            threads[name] = threading.get_ident()
            all_at_once.wait()

        return Watched(case(), seen)

    cases = {f"case{number:02}": watched(f"case{number:02}") for number in range(40)}  # each comes once in ten batches
    source = batches(sampler(cases, batch_size=4), 0, workers=4, ahead=0)
    first = next(source)
    assert len({threads[key] for key in first.keys}) == 4
    all_at_once.abort()
    source.close()


@pytest.mark.parametrize("room, most", [(10, 10), (3.5, 3), (0.1, 1)])
def test_patches_read_ahead_take_no_more_than_their_room(room, most):
    """Whatever the number of threads: 16 of them, and nobody takes what they have read."""
    reading, enough, may_end = [], threading.Semaphore(0), threading.Event()

    def seen(box):
        reading.append(box)
        enough.release()
        may_end.wait()

    chosen = sampler({"case": Watched(case(), seen)}, voxel_bytes=5, room=room * 12**3 * 5)
    source = batches(chosen, 0, workers=16, ahead=2)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(next, source)  # asks for all that there is room for, then waits for the first patch
        for _ in range(most):
            assert enough.acquire(timeout=60)
        may_end.set()
        assert len(first.result().images) == 2
    source.close()
    assert most <= len(reading) <= most + 1  # one more once the first was taken


def test_what_is_read_is_counted_as_no_less_than_it_is(small_plan):
    configuration = replace(small_plan.configuration()[1], augmentation=standard.Spec(), batch_size=8)
    one = case((30, 30, 30))
    for image, labels in (
        (one.image[:1], one.labels),
        (one.image[:1].astype(np.float32), one.labels.astype(np.uint16)),
    ):
        cases = {"a": replace(one, image=image, labels=labels)}
        chosen = training_sampler(cases, ["a"], task_of(small_plan, configuration), 0)
        for patch in chosen.patches(3):
            _, (image, maps) = chosen.read(patch)
            assert image.nbytes + maps.nbytes <= chosen.bytes_of(patch)
    assert 0 < chosen.room < memory_bytes()


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_only_what_the_drawn_transform_shows_is_read(small_plan, name):
    """Counted: of nine in twenty-five patches that are rotated or scaled the region, of the others the patch."""
    boxes, patch = [], (16, 16, 16)
    plan = replace(small_plan, mirror_axes=(0, 2))
    augmentation = AUGMENTATIONS.load(name)()
    configuration = replace(plan.configuration()[1], augmentation=augmentation, patch_size=patch, batch_size=4)
    cases = {"case": Watched(case((64, 64, 64), voxels=((32, 32, 32),)), boxes.append)}
    rules = replace(configuration.training, oversampling=1.0, balance=0.0)
    chosen = training_sampler(cases, ["case"], task_of(plan, replace(configuration, training=rules)), 0)
    chosen = replace(chosen, cases=cases)  # not the cache, which reads it whole
    for number in range(100):
        chosen.batch(number)
    voxels = np.array([np.prod(box.shape) for box in boxes]) / np.prod(patch)
    limit = np.prod(augmentation.loaded_shape(patch)) / np.prod(patch)  # 3.8
    assert 0.55 < np.mean(voxels == 1) <= 1 and voxels.max() <= limit
    assert voxels.mean() <= {"none": 1.0, "standard": 1.6, "batchgenerators": 2.2}[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(AUGMENTATIONS))
@pytest.mark.parametrize("flat", [False, True])
def test_inputs_are_those_of_patches_that_were_read_as_large_as_may_be(small_plan, name, flat):
    plan = replace(small_plan, mirror_axes=(0, 1, 2))
    changes = {"rotation_probability": 0.4, "scaling_probability": 0.4} if name != "none" else {}
    network = plain_unet.Spec((4, 8), ((3, 3), (3, 3)), ((1, 1), (2, 2)), (1, 1), (1,))
    configuration = replace(
        plan.configuration()[1],
        augmentation=AUGMENTATIONS.load(name)(**changes),
        batch_size=6,
        inputs=() if flat else (prior.Spec("3d_lowres"),),
        **({"patch_size": (8, 12), "network": network} if flat else {"patch_size": (6, 10, 12)}),
    )
    one = case((20, 24, 28), voxels=((10, 11, 12), (0, 0, 0)))
    maps = np.random.default_rng(0).integers(0, 2, (20, 24, 28)).astype(np.uint8)
    cases = {"a": replace(one, image=one.image[:1], labels=maps, extras=() if flat else (1 - maps[None],))}
    chosen = training_sampler(cases, ["a"], task_of(plan, configuration), 0)
    largest = configuration.augmentation.loaded_shape(configuration.patch_size)
    step = Step.of(task_of(plan, configuration), resolve(RunSettings(device="cpu")), 0, torch.nn.Identity())
    for number in range(12):
        small = step.augmented(chosen.batch(number), number)
        whole = step.augmented(replace(chosen, shapes=lambda number: [largest] * 6).batch(number), number)
        assert torch.equal(small.images, whole.images) and torch.equal(small.targets, whole.targets)


def test_what_is_read_of_a_case_in_memory_is_a_copy():
    whole = case((8, 8, 8))
    batch = sampler({"case": whole}, read=(8, 8, 8)).batch(0)
    batch.images[0].zero_(), batch.targets[0].fill_(7)
    assert whole.image.any() and not whole.labels.any()


def test_every_case_comes_once_before_any_comes_twice():
    cases = {f"case{i}": case(seed=i) for i in range(5)}
    drawn = [key for number in range(10) for key in sampler(cases).batch(number).keys]
    for start in range(0, 20, 5):
        assert sorted(drawn[start : start + 5]) == sorted(cases)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 30)] * 3),
    st.tuples(*[st.integers(-20, 40)] * 3),
    st.tuples(*[st.integers(1, 25)] * 3),
)
def test_what_lies_beyond_the_image_is_zero_and_background(shape, start, size):
    image, labels = read_padded(numbered(shape), np.array(start), np.array(size))
    whole = np.pad(numbered(shape).image[0], 70)
    expected = whole[tuple(slice(70 + a, 70 + a + n) for a, n in zip(start, size))]
    assert np.array_equal(image[0], expected)
    assert np.array_equal(labels, (expected > 0).astype(np.uint8))


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 30)] * 3), st.integers(0, 1000), st.booleans())
def test_patches_lie_inside_the_image_and_small_images_are_centred(shape, number, forced):
    one = numbered(shape)
    corner = np.array([[0, 0, 0], [n - 1 for n in shape]], np.int32)
    if forced:
        one = replace(one, foreground=Locations.of({1: corner}))
    chosen = sampler({"case": one}, read=(8, 8, 8), oversampling=1.0)
    patch = chosen.batch(number).images[0][0].numpy() > 0
    for axis, size in enumerate(shape):
        (used,) = np.nonzero(patch.any(axis=tuple(a for a in range(3) if a != axis)))
        assert len(used) == min(size, 8)
        assert abs(used[0] - (7 - used[-1])) <= 1


def test_what_is_read_keeps_the_centre_of_the_patch():
    shape = (40, 40, 40)
    plain = sampler({"case": numbered(shape)}, read=(8, 8, 8), oversampling=0.0)
    large = replace(plain, shapes=lambda number: [(13, 12, 8), (8, 9, 10)])
    small = replace(plain, shapes=lambda number: [(6, 8, 4), (8, 8, 8)])
    for number in range(5):
        one, two = plain.batch(number).images
        (first, second), (third, fourth) = large.batch(number).images, small.batch(number).images
        assert torch.equal(first[:, 2:10, 2:10], one) and torch.equal(second[:, :, :8, 1:9], two)
        assert torch.equal(third, one[:, 1:7, :, 2:6]) and torch.equal(fourth, two)


def test_forced_patches_hold_their_voxel_and_every_label_comes_up():
    voxels = {1: np.array([[0, 0, 0]], np.int32), 2: np.array([[11, 19, 15]], np.int32)}
    labels = np.zeros((12, 20, 16), np.uint8)
    labels[0, 0, 0], labels[11, 19, 15] = 1, 2
    cases = {"case": CaseInMemory(np.zeros((1, 12, 20, 16), np.float16), labels, Locations.of(voxels))}
    found = [int(sampler(cases).batch(number).targets[1].max()) for number in range(40)]
    assert min(found) >= 1 and 5 < found.count(1) < 35


@pytest.mark.parametrize("batch, share, forced", [(2, 0.33, 1), (12, 0.33, 4), (1, 0.33, 1), (3, 0.0, 0), (4, 1.0, 4)])
def test_the_last_patches_of_a_batch_are_forced(batch, share, forced):
    voxels = {1: np.array([[5, 50, 50]], np.int32)}
    labels = np.zeros((10, 100, 100), np.uint8)
    labels[5, 50, 50] = 1
    cases = {"case": CaseInMemory(np.zeros((1, 10, 100, 100), np.float16), labels, Locations.of(voxels))}
    chosen = sampler(cases, batch_size=batch, oversampling=share, patch_size=(4, 4, 4), read=(4, 4, 4))
    hits = np.array([[int(patch.max()) for patch in chosen.batch(number).targets] for number in range(10)])
    assert (hits[:, batch - forced :] == 1).all() and not hits[:, : batch - forced].any()


def test_with_an_ignore_label_every_patch_holds_something_annotated():
    labels = np.full((10, 60, 60), 2, np.uint8)  # 2 is the ignore index
    labels[5, 50, 50] = 1
    voxels = Locations.of({1: np.array([[5, 50, 50]])})
    cases = {"case": CaseInMemory(np.zeros((1, 10, 60, 60), np.float16), labels, voxels)}
    chosen = sampler(cases, patch_size=(4, 4, 4), read=(4, 4, 4), ignore_index=2)
    places = [tuple(np.argwhere(chosen.batch(n).targets[0].numpy() == 1)[0]) for n in range(20)]
    assert len(set(places)) > 10


def scribbles():
    """A case of one row: 90 voxels of annotated background, then 10 of label 1; 2 would be the ignore index."""
    labels = np.zeros((1, 1, 100), np.uint8)
    labels[..., 90:] = 1
    found = Locations.of({index: np.argwhere(labels == index) for index in (0, 1)})
    cases = {"case": CaseInMemory(np.zeros((1, 1, 1, 100), np.float16), labels, found)}
    return sampler(cases, patch_size=(1, 1, 1), read=(1, 1, 1), ignore_index=2, batch_size=100)


def test_annotated_background_is_no_foreground():
    targets = replace(scribbles(), oversampling=1.0).batch(0).targets
    assert (torch.stack(targets) == 1).all()


def test_without_force_every_annotated_voxel_is_as_likely_as_any_other():
    chosen = replace(scribbles(), oversampling=0.0)
    hits = sum(int((torch.stack(chosen.batch(number).targets) == 1).sum()) for number in range(10))
    assert 65 < hits < 140  # of 1000, expected 100


def twenty_cases(found):
    """Cases of one row of ten voxels; ``found`` says which of them hold which labels, at the voxel of that number."""
    cases = {}
    for number in range(20):
        labels = np.zeros((1, 1, 10), np.uint8)
        for index in found.get(number, ()):
            labels[0, 0, index] = index
        voxels = {index: np.argwhere(labels == index) for index in found.get(number, ())}
        cases[f"case{number:02}"] = CaseInMemory(np.zeros((1, 1, 1, 10), np.float16), labels, Locations.of(voxels))
    return cases


def forced(cases, small_plan, **rules):
    """The labels at the centre of 400 patches that were all forced."""
    training = TrainingRules(epochs=1, oversampling=1.0, **rules)
    configuration = replace(
        small_plan.configurations["3d_fullres"], training=training, patch_size=(2, 2, 2), batch_size=40
    )
    chosen = replace(
        training_sampler(cases, sorted(cases), task_of(small_plan, configuration), 0),
        patch_size=(1, 1, 1),
        shapes=None,
    )
    batches = [chosen.batch(number) for number in range(10)]
    targets = torch.cat([torch.stack(batch.targets).flatten() for batch in batches]).numpy()
    return targets, [key for batch in batches for key in batch.keys]


def test_empty_cases_cost_half_of_the_foreground_at_most(small_plan):
    cases = twenty_cases({3: (1,), 8: (1,)})
    as_nnunet, _ = forced(cases, small_plan, balance=0.0)
    by_default, _ = forced(cases, small_plan)
    always, _ = forced(cases, small_plan, balance=1.0)
    assert 0.05 < np.mean(as_nnunet == 1) < 0.3  # two cases of twenty, and now and then by chance
    assert np.mean(by_default == 1) > 0.45 and (always == 1).all()


def test_a_rare_label_comes_up_as_often_as_a_common_one(small_plan):
    cases = twenty_cases({number: (1,) for number in range(19)} | {19: (1, 2)})
    rare = {share: np.mean(forced(cases, small_plan, balance=share)[0] == 2) for share in (0.0, 0.5, 1.0)}
    assert rare[0.0] < 0.06 and 0.2 < rare[0.5] < 0.35 and 0.42 < rare[1.0] < 0.58  # expected 0.025, 0.26, 0.5


def test_without_balance_every_case_comes_in_turn(small_plan):
    _, keys = forced(twenty_cases({3: (1, 2), 8: (1,)}), small_plan, balance=0.0)
    for start in range(0, 400, 20):
        assert len(set(keys[start : start + 20])) == 20


def test_small_parts_are_seen_beside_large_ones(small_plan):
    labels = np.zeros((1, 30, 40), np.uint8)
    labels[:, :, :30], labels[0, 5, 35] = 1, 1
    cases = {"case": CaseInMemory(np.zeros((1, *labels.shape), np.float16), labels, class_locations(labels, ORGAN))}
    chosen = sampler(cases, patch_size=(1, 1, 1), read=(1, 1, 1), oversampling=1.0, batch_size=400)
    number_of = np.arange(labels.size, dtype=np.float32).reshape(1, *labels.shape)
    cases["case"] = replace(cases["case"], image=number_of)
    speck = 5 * 40 + 35
    hits = {
        share: sum(int(image) == speck for image in replace(chosen, components=share).batch(0).images)
        for share in (0, 0.25, 1)
    }
    assert hits[0] < 5 and 25 < hits[0.25] < 80 and 160 < hits[1] < 240  # of 400, expected 0, 50, 200


def test_a_2d_patch_is_a_slice():
    one = numbered((6, 20, 20))
    chosen = sampler({"case": one}, patch_size=(8, 8), read=(8, 8), oversampling=0.0, batch_size=30)
    images = torch.stack(chosen.batch(0).images)
    assert images.shape == (30, 1, 8, 8)
    slices = {int((patch[0, 0, 0] - 1) // 400) for patch in images}
    assert slices == set(range(6))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(0, 8), st.sampled_from([1, 3, 5]))
def test_neighbouring_slices_are_channels_and_the_border_slices_come_again(depth, middle, slices):
    middle %= depth
    image = np.random.default_rng(0).standard_normal((2, depth, 6, 7)).astype(np.float16)
    labels = np.random.default_rng(1).integers(0, 3, (depth, 6, 7)).astype(np.uint8)
    one = CaseInMemory(image, labels, NOWHERE)
    start, shape = np.array((middle, 1, 2)), np.array((1, 4, 4))
    got, target = read_slices(one, start, shape, slices)
    reach = slices // 2
    padded = np.pad(image, ((0, 0), (reach, reach), (0, 0), (0, 0)), mode="edge")[..., 1:5, 2:6]
    assert np.array_equal(got.reshape(2, slices, 4, 4), padded[:, middle : middle + slices])
    assert np.array_equal(target, labels[middle, 1:5, 2:6])


def test_the_middle_channel_is_what_a_network_of_one_slice_sees():
    cases = {f"case{i}": case(seed=i) for i in range(3)}
    flat = sampler(cases, patch_size=(8, 8), read=(10, 10))
    for number in range(4):
        one, several = flat.batch(number), replace(flat, slices=5).batch(number)
        assert (torch.stack(several.images)[:, [2, 7]] == torch.stack(one.images)).all()
        assert all(map(torch.equal, several.targets, one.targets))


@pytest.mark.parametrize("flat", [False, True])
def test_an_earlier_stages_labels_come_from_the_same_place_as_the_patch(flat):
    one = numbered((10, 12, 9))
    predicted = one.image[:1].astype(np.uint16)
    cases = {"case": CaseInMemory(one.image, one.labels, Locations.of({1: np.array([[0, 11, 4]])}), (predicted,))}
    sizes = {"patch_size": (8, 8), "read": (12, 10)} if flat else {}
    for number in range(4):
        batch = sampler(cases, **sizes).batch(number)
        (found,) = batch.extras
        for image, target, indices in zip(batch.images, batch.targets, found, strict=True):
            assert torch.equal(indices, image[:1].int()) and torch.equal(target, (indices[0] > 0).int())


def test_labels_of_two_bytes_arrive_as_int32():
    one = case()
    wide = {"case": replace(one, labels=one.labels.astype(np.uint16) + 300)}
    for target in sampler(wide).batch(0).targets:
        assert target.dtype == torch.int32 and target.max() == 300


def test_the_cache_reads_a_case_once_and_respects_its_budget():
    reads = []

    class Counted:
        def __init__(self, name):
            self.inner, self.name = case(), name
            self.shape, self.channels, self.foreground = self.inner.shape, 2, self.inner.foreground
            self.absent = ()

        def read(self, box):
            reads.append((self.name, box))
            return self.inner.read(box)

    size = 12 * 20 * 16 * 6
    cache = CaseCache({name: Counted(name) for name in "abc"}, budget=2 * size)
    for _ in range(3):
        for name in "abc":
            cache[name].read(Box((0, 0, 0), (2, 2, 2)))
    assert [name for name, _ in reads] == ["a", "b", "c", "c", "c"]
    assert list(cache) == ["a", "b", "c"] and len(cache) == 3
