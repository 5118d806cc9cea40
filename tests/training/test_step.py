"""One step, whatever augmentation, alone or as one of several processes."""

import weakref
from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest
import torch
from operations import Operations
from run_settings import SETTINGS
from tasks import task_of
from torch.profiler import ProfilerActivity, profile

from autoseg.configuration import LOSSES
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.parts.augmentations import batchgenerators, none, standard
from autoseg.parts.inputs import prior
from autoseg.parts.optimizers import adamw, muon, sgd
from autoseg.settings import resolve
from autoseg.training.batches import Batch
from autoseg.training.process_group import ProcessGroup
from autoseg.training.state import start
from autoseg.training.step import Inputs, Step

OFTEN = {name: 0.7 for name in vars(standard.Spec()) if name.endswith("_probability")} | {"mirror_probability": 0.5}
AUGMENTATIONS = (none.Spec(), standard.Spec(**OFTEN), batchgenerators.Spec(**OFTEN))


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda spec: type(spec).__module__.rpartition(".")[2])
@pytest.mark.parametrize("with_prior", [False, True])
def test_the_shares_of_two_processes_are_augmented_as_the_whole_batch(small_plan, augmentation, with_prior):
    configuration = replace(
        small_plan.configuration()[1],
        augmentation=augmentation,
        batch_size=3,
        inputs=(prior.Spec("3d_lowres"),) if with_prior else (),
    )
    shape = augmentation.loaded_shape(configuration.patch_size)
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.standard_normal((3, 1, *shape)).astype(np.float32))
    targets = torch.from_numpy(random.integers(0, 2, (3, *shape)).astype(np.uint8))
    extras = [torch.from_numpy(random.integers(0, 2, (3, 1, *shape)).astype(np.uint8))] if with_prior else []

    def augmented(group):
        share = slice(group.shard(3).start, group.shard(3).stop)
        batch = Batch(images[share], targets[share], ("a", "b", "c"), tuple(each[share] for each in extras))
        step = Step.of(task_of(small_plan, configuration), resolve(SETTINGS), 0, torch.nn.Identity(), group)
        inputs = step.augmented(batch, 5)
        return inputs.images, inputs.targets

    whole, parts = augmented(ProcessGroup()), [augmented(ProcessGroup(rank, 2)) for rank in range(2)]
    for expected, first, second in zip(whole, *parts):
        torch.testing.assert_close(torch.cat((first, second)), expected)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda spec: type(spec).__module__.rpartition(".")[2])
def test_a_step_with_any_augmentation_changes_the_weights(small_plan, augmentation):
    configuration = replace(small_plan.configuration()[1], augmentation=augmentation)
    shape = augmentation.loaded_shape(configuration.patch_size)
    state = start(task_of(small_plan, configuration), SETTINGS)
    before = next(state.network.parameters()).clone()
    step = Step.of(task_of(small_plan, configuration), resolve(SETTINGS), 0, state.network)
    batch = Batch(torch.randn(2, 1, *shape), torch.ones(2, *shape, dtype=torch.uint8), ("a", "b"))
    assert step(state, step.augmented(batch, 0), 0.0) > 0
    assert not torch.equal(next(state.network.parameters()), before)


LABELS = (
    ExclusiveLabels({"background": 0, "a": 1, "b": 2}, ignore=9),
    RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2), ignore=9),
)


class Custom:
    """A user's own loss, which knows nothing of measures, and a part that builds it."""

    def build(self, labels):
        return lambda logits, target: (logits.float().square().mean() * target.float().mean()).sqrt()


def losses():
    for name in LOSSES:
        spec = LOSSES.load(name)()
        yield from (
            [replace(spec, batch_dice=each) for each in (False, True)] if hasattr(spec, "batch_dice") else [spec]
        )
    yield Custom()


def made(labels, seed=0):
    """Three patches, one of them without foreground and one with ignored voxels."""
    random = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 3, (3, 8, 8, 8), generator=random, dtype=torch.uint8)
    targets[0], targets[2, :3] = 0, 3
    targets.clamp_(max=len(labels.values) - (labels.ignore_index is None))
    return Inputs(torch.randn(3, 1, 8, 8, 8, generator=random), targets, ("a", "b", "c"), 0)


@pytest.mark.parametrize("labels", LABELS, ids=["exclusive", "regions"])
@pytest.mark.parametrize(
    "loss", losses(), ids=lambda loss: f"{type(loss).__module__}-{getattr(loss, 'batch_dice', '')}"
)
def test_a_batch_in_parts_has_the_gradient_of_the_whole_batch(small_plan, loss, labels):
    plan, found = replace(small_plan, labels=labels), []
    configuration = replace(plan.configuration()[1], batch_size=3, loss=loss)
    for parts in (1, 2, 3):
        state = start(task_of(plan, configuration), SETTINGS)
        before, state.parts = flat(state.network), parts
        value = Step.of(task_of(plan, configuration), resolve(SETTINGS), 0, state.network)(state, made(labels), 0.0)
        found.append((value, flat(state.network) - before))
    (expected, change), *others = found
    for value, changed in others:
        assert value == pytest.approx(expected, rel=1e-5)
        assert (changed - change).norm() < 1e-3 * change.norm()


def flat(network):
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def most_held(plan, configuration, images, parts):
    """Bytes of torch's allocator during one step."""
    state = start(task_of(plan, configuration), SETTINGS)
    state.parts, step = parts, Step.of(task_of(plan, configuration), resolve(SETTINGS), 0, state.network)
    inputs = Inputs(images, torch.zeros(len(images), *images.shape[2:], dtype=torch.uint8), ("a",) * len(images), 0)
    step(state, inputs, 0.0)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step(state, inputs, 0.0)
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(held)


def test_a_batch_in_parts_holds_the_activations_of_one_part(small_plan):
    configuration = replace(small_plan.configuration()[1], batch_size=6, patch_size=(16, 24, 24))
    images = torch.randn(6, 1, 16, 24, 24)
    whole, thirds = (most_held(small_plan, configuration, images, parts) for parts in (1, 3))
    assert thirds < 0.4 * whole  # of single patches a processor with one thread makes slower, larger convolutions


class Limited(torch.nn.Module):
    """Has memory for so many patches at once; knows what is left of a pass that failed."""

    def __init__(self, network, most):
        super().__init__()
        self.network, self.most, self.seen, self.failed = network, most, [], None

    def forward(self, images):
        assert self.failed is None or self.failed() is None
        self.seen.append(len(images))
        logits = self.network(images)
        if len(images) > self.most:
            self.failed = weakref.ref(logits[0])
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits


@pytest.mark.slow
def test_what_does_not_fit_is_computed_in_parts_once_the_failed_pass_is_gone(small_plan):
    configuration = replace(small_plan.configuration()[1], batch_size=3)
    state = start(task_of(small_plan, configuration), SETTINGS)
    limited = Limited(state.network, 1)
    step = Step.of(task_of(small_plan, configuration), resolve(SETTINGS), 0, limited)
    assert step(state, made(small_plan.labels), 0.0) > 0
    assert limited.seen == [3, 2, 1, 1, 1, 1, 1, 1] and state.parts == 3
    limited.seen.clear()
    assert step(state, made(small_plan.labels), 0.0) > 0 and limited.seen == [1] * 6


@pytest.mark.slow
@pytest.mark.parametrize(("most", "group"), [(0, ProcessGroup()), (1, ProcessGroup(0, 2))])
def test_where_one_patch_does_not_fit_or_others_wait_the_error_is_raised(small_plan, most, group):
    configuration = replace(small_plan.configuration()[1], batch_size=3)
    state = start(task_of(small_plan, configuration), SETTINGS)
    before = flat(state.network)
    step = Step.of(task_of(small_plan, configuration), resolve(SETTINGS), 0, Limited(state.network, most), group)
    with pytest.raises(torch.OutOfMemoryError):
        step(state, made(small_plan.labels), 0.0)
    assert torch.equal(flat(state.network), before)


def test_an_update_that_fails_half_way_is_not_made_twice(small_plan):
    configuration = small_plan.configuration()[1]
    state, tried = start(task_of(small_plan, configuration), SETTINGS), []

    def fail(*_):
        tried.append(1)
        raise torch.OutOfMemoryError

    state.optimizer.register_step_post_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):
        Step.of(task_of(small_plan, configuration), resolve(SETTINGS), 0, state.network)(
            state, made(small_plan.labels), 1.0
        )
    assert tried == [1]


def test_a_step_that_the_scaler_skips_is_followed_by_nothing(small_plan, monkeypatch):
    configuration = small_plan.configuration()[1]
    configuration = replace(configuration, training=replace(configuration.training, ema_decay=0.5))
    state, followed = start(task_of(small_plan, configuration), SETTINGS), []
    step = Step.of(task_of(small_plan, configuration), resolve(SETTINGS), 0, state.network)
    monkeypatch.setattr(type(state.objective), "after_step", lambda self, network: followed.append(network))
    state.scaler = torch.amp.GradScaler("cpu")
    overflows = next(state.network.parameters()).register_hook(lambda gradient: gradient * torch.inf)
    before, averaged = flat(state.network), state.average.n_averaged.clone()
    assert step(state, made(small_plan.labels), 0.0) > 0
    assert torch.equal(flat(state.network), before) and not followed and state.average.n_averaged == averaged
    overflows.remove()
    assert step(state, made(small_plan.labels), 0.0) > 0
    assert not torch.equal(flat(state.network), before) and followed == [state.network]


def ran(plan, **changes):
    """The operations of one step, the networks' aside: these take another way on a GPU."""
    configuration = replace(plan.configuration()[1], batch_size=3, **changes)
    state, shape = (
        start(task_of(plan, configuration), SETTINGS),
        configuration.augmentation.loaded_shape(configuration.patch_size),
    )
    batch = Batch(torch.randn(3, 1, *shape), torch.randint(0, 3, (3, *shape), dtype=torch.uint8), ("a", "b", "c"))
    step = Step.of(task_of(plan, configuration), resolve(SETTINGS), 0, state.network)
    with Operations() as operations:
        assert step(state, step.augmented(batch, 0), 0.0) > 0
    return operations


@pytest.mark.parametrize("loss", losses())
@pytest.mark.parametrize("labels", LABELS, ids=["exclusive", "regions"])
def test_a_loss_uses_nothing_that_is_not_deterministic_on_a_gpu(small_plan, loss, labels):
    operations = ran(replace(small_plan, labels=labels), loss=loss)
    assert "convolution_backward" in operations.names and operations.not_deterministic == set()


@pytest.mark.parametrize("optimizer", [sgd.Spec(), adamw.Spec(), muon.Spec()])
def test_a_step_uses_nothing_that_is_not_deterministic_on_a_gpu(small_plan, optimizer):
    augmentation = standard.Spec(**dict.fromkeys(OFTEN, 1.0), rotation_degrees=30.0)
    plan = replace(small_plan, labels=LABELS[0])
    operations = ran(plan, optimizer=optimizer, augmentation=augmentation)
    assert "index_select" in operations.names and operations.not_deterministic == set()
