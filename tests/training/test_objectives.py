"""An objective of one's own: one file outside autoseg, trusted, with a teacher that is trained, saved and counted."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_parts import mean_teacher
from run_settings import SETTINGS
from tasks import task_of

from autoseg.changes import changed
from autoseg.configuration import Configuration, TrainingRules
from autoseg.core.inputs import InputGroup, InputSpec
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.core.records import from_json, to_json
from autoseg.core.samples import LABELLED
from autoseg.errors import RecordError, StoppedError, TrainingError, UnknownPartError
from autoseg.parts.augmentations import standard
from autoseg.parts.losses import dice_ce
from autoseg.parts.networks import plain_unet
from autoseg.parts.objectives import supervised
from autoseg.plan import Plan
from autoseg.preprocessing.locations import Locations
from autoseg.settings import resolve
from autoseg.training.accounting import step_memory
from autoseg.training.batches import training_sampler
from autoseg.training.budget import Budget
from autoseg.training.cases import CaseInMemory
from autoseg.training.checkpoint import read_checkpoint, write_checkpoint
from autoseg.training.fit import Course, fit
from autoseg.training.state import TrainingState, resume, save, start
from autoseg.training.step import MIDWAY, Inputs, Step
from autoseg.training.timed_steps import time_steps
from autoseg.workspace import RunFolder

NAME = "own_parts.mean_teacher"
TRUSTED = ("own_parts",)
TEACHER = mean_teacher.Spec()
Change = Callable[[TrainingState], None]


def with_teacher(plan: Plan, objective: Any = TEACHER, **changes: Any) -> Configuration:
    changes = {"augmentation": standard.Spec(), "training": TrainingRules(4, iterations_per_epoch=3)} | changes
    return replace(plan.configuration()[1], objective=objective, **changes)


def train(
    plan: Plan, configuration: Configuration, folder: RunFolder, iterations: int, change: Change = lambda state: None
) -> TrainingState:
    """On bright boxes in noise."""
    random, given = np.random.default_rng(0), {}
    for number in range(3):
        labels = np.zeros((14, 14, 14), np.uint8)
        labels[3 : 7 + number, 4:9, 2:8] = 1
        image = (random.standard_normal((1, *labels.shape)) * 0.3 + 2 * labels).astype(np.float16)
        given[f"case{number}"] = CaseInMemory(image, labels, Locations.of({1: np.argwhere(labels)}))
    task = task_of(plan, configuration)
    state = start(task, SETTINGS)
    resume(state, folder.checkpoints)
    change(state)
    sampler = training_sampler(given, sorted(given), task, SETTINGS.seed)
    fit(state, task, sampler, None, course=Course(Budget(iterations)), settings=SETTINGS, folder=folder)
    return state


def flat(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in module.parameters()])


def teacher(state: TrainingState) -> torch.Tensor:
    assert isinstance(state.objective, mean_teacher.MeanTeacher)
    return flat(state.objective.teacher)


def inputs(patches: int = 2, seed: int = 0) -> Inputs:
    random = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 2, (patches, 8, 8, 8), generator=random, dtype=torch.uint8)
    return Inputs(torch.randn(patches, 1, 8, 8, 8, generator=random), targets, ("a",) * patches, 0)


def step_of(plan: Plan, configuration: Configuration) -> tuple[TrainingState, Step]:
    task = task_of(plan, configuration)
    state = start(task, SETTINGS)
    return state, Step.of(task, resolve(SETTINGS), 0, state.network)


def test_an_objective_of_ones_own_is_chosen_as_any_part_and_needs_trust(small_plan: Plan) -> None:
    with pytest.raises(UnknownPartError, match="--trust own_parts"):
        changed(small_plan, [f"objective={NAME}"])
    plan = changed(small_plan, [f"objective={NAME}", "objective.decay=0.5"], TRUSTED)
    assert plan.configuration()[1].objective == mean_teacher.Spec(decay=0.5)
    written = to_json(plan)
    assert from_json(Plan, written, trusted=TRUSTED) == plan
    with pytest.raises(UnknownPartError, match=r"objective.*--trust own_parts"):
        from_json(Plan, written)


def test_a_plan_of_before_objectives_were_parts_is_supervised(small_plan: Plan) -> None:
    written = to_json(small_plan)
    assert written["configurations"]["3d_fullres"].pop("objective") == {"name": "supervised"}
    assert from_json(Plan, written) == small_plan
    assert small_plan.configuration()[1].objective == supervised.Spec()


def test_samples_that_training_cannot_draw_are_refused(
    small_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "semi_supervised").mkdir()
    (tmp_path / "semi_supervised" / "both.py").write_text(
        "from dataclasses import dataclass\n"
        "from own_parts import mean_teacher\n"
        "@dataclass(frozen=True)\n"
        "class Spec(mean_teacher.Spec):\n"
        "    streams = ('labelled', 'unlabelled')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    said = r"3d_fullres: objective semi_supervised\.both learns .* cannot draw: unlabelled; it can draw labelled"
    with pytest.raises(RecordError, match=said):
        changed(small_plan, ["objective=semi_supervised.both"], ("semi_supervised",))


def test_a_teacher_follows_the_network_and_changes_what_it_learns(small_plan: Plan, tmp_path: Path) -> None:
    strong = mean_teacher.Spec(decay=0.5, weight=50.0)
    states = {
        name: train(small_plan, with_teacher(small_plan, objective), RunFolder(tmp_path / name), 6)
        for name, objective in {"plain": supervised.Spec(), "none": replace(strong, weight=0.0), "on": strong}.items()
    }
    networks = {name: flat(state.network) for name, state in states.items()}
    assert torch.equal(networks["none"], networks["plain"])  # a teacher that says nothing changes not a bit
    assert not torch.equal(networks["on"], networks["plain"])
    first = flat(start(task_of(small_plan, with_teacher(small_plan)), SETTINGS).network)
    assert 0 < (teacher(states["on"]) - first).norm() < (networks["on"] - first).norm()


def test_a_teacher_is_the_moving_average_of_the_network(small_plan: Plan) -> None:
    state, step = step_of(small_plan, with_teacher(small_plan, mean_teacher.Spec(decay=0.75)))
    expected = flat(state.network)
    for number in range(3):
        assert step(state, inputs(seed=number), 0.1)
        expected = 0.75 * expected + 0.25 * flat(state.network)
    torch.testing.assert_close(teacher(state), expected)


def test_a_step_that_is_skipped_moves_no_teacher(small_plan: Plan) -> None:
    state, step = step_of(small_plan, with_teacher(small_plan))
    before, broken = teacher(state), inputs()
    broken.images.fill_(float("nan"))
    assert step(state, broken, 0.1) is None
    assert torch.equal(teacher(state), before)


def test_progress_phases_a_teacher_in(small_plan: Plan) -> None:
    spec = mean_teacher.Spec(weight=100.0, noise=1.0)
    state, step = step_of(small_plan, with_teacher(small_plan, spec))
    losses = []
    for progress in (0.0, 0.5, 1.0):
        torch.manual_seed(0)
        losses.append(step.loss_of(state.objective, inputs(), progress).item())
    slope = (losses[2] - losses[1]) / (1 - exp(-5 / 4))
    assert slope > 0 and losses[1] - losses[0] == pytest.approx(slope * (exp(-5 / 4) - exp(-5)), rel=1e-3)


@pytest.mark.parametrize("objective", [supervised.Spec(), mean_teacher.Spec()])
def test_a_training_that_was_killed_ends_bit_identical(small_plan: Plan, tmp_path: Path, objective: Any) -> None:
    configuration = with_teacher(small_plan, objective)
    expected = train(small_plan, configuration, RunFolder(tmp_path / "whole"), 9)

    class Killed(Exception):
        pass

    def kill_in_the_sixth(state: TrainingState) -> None:
        def die(*_: Any) -> None:
            if state.iteration == 4:
                os.kill(os.getpid(), signal.SIGUSR1)  # saves after this iteration
            if state.iteration == 5:
                raise Killed

        state.optimizer.register_step_post_hook(die)

    parts = RunFolder(tmp_path / "parts")
    with pytest.raises(Killed):
        train(small_plan, configuration, parts, 9, kill_in_the_sixth)
    assert [path.stem for path in parts.checkpoints.iterdir()] == ["iteration_00000005"]
    got = train(small_plan, configuration, parts, 9)
    assert torch.equal(flat(got.network), flat(expected.network))
    states = got.objective.state_dict(), expected.objective.state_dict()
    assert states[0].keys() == states[1].keys() and bool(states[0]) == (objective != supervised.Spec())
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


def test_a_training_that_was_stopped_goes_on_with_its_teacher(small_plan: Plan, tmp_path: Path) -> None:
    configuration, folder = with_teacher(small_plan), RunFolder(tmp_path)

    def stop(state: TrainingState) -> None:
        state.optimizer.register_step_post_hook(lambda *_: os.kill(os.getpid(), signal.SIGTERM))

    with pytest.raises(StoppedError):
        train(small_plan, configuration, folder, 9, stop)
    saved = read_checkpoint(next(folder.checkpoints.iterdir()))["objective"]
    state = start(task_of(small_plan, configuration), SETTINGS)
    assert not torch.equal(teacher(state), torch.cat([value.flatten() for value in saved.values()]))
    assert resume(state, folder.checkpoints)
    assert torch.equal(teacher(state), torch.cat([value.flatten() for value in saved.values()]))


def test_a_checkpoint_of_before_goes_on_supervised_and_is_refused_with_a_teacher(
    small_plan: Plan, tmp_path: Path
) -> None:
    state, step = step_of(small_plan, with_teacher(small_plan, supervised.Spec()))
    assert step(state, inputs(), 0.0)
    state.iteration = 1
    path = save(state, tmp_path / "checkpoints")
    content = read_checkpoint(path)
    assert content.pop("objective") == {}
    write_checkpoint(path, content)
    again, _ = step_of(small_plan, with_teacher(small_plan, supervised.Spec()))
    assert resume(again, path.parent) and torch.equal(flat(again.network), flat(state.network))
    other, _ = step_of(small_plan, with_teacher(small_plan))
    with pytest.raises(TrainingError, match=r"another network, optimizer or objective .* remove .* to start anew"):
        resume(other, path.parent)


def test_the_state_of_another_objective_is_refused(small_plan: Plan, tmp_path: Path) -> None:
    state, _ = step_of(small_plan, with_teacher(small_plan))
    save(state, tmp_path)
    other, _ = step_of(small_plan, with_teacher(small_plan, supervised.Spec()))
    with pytest.raises(TrainingError, match="supervised learning keeps no state"):
        resume(other, tmp_path)


@pytest.mark.parametrize("labels", [ExclusiveLabels({"background": 0, "a": 1}), RegionLabels({"whole": (1,)}, (1,))])
@pytest.mark.parametrize("batch_dice", [False, True])
def test_a_batch_in_parts_has_the_gradient_of_the_whole_batch(small_plan: Plan, labels: Any, batch_dice: bool) -> None:
    spec, found = mean_teacher.Spec(weight=20.0, noise=0.0), []
    plan = replace(small_plan, labels=labels)
    configuration = with_teacher(plan, spec, batch_size=3, loss=dice_ce.Spec(batch_dice=batch_dice))
    for parts in (1, 2, 3):
        state, step = step_of(plan, configuration)
        with torch.no_grad():
            for weight in state.network.parameters():  # so that the teacher says something else
                weight += 0.2
        before, state.parts = flat(state.network), parts
        value = step(state, inputs(3), MIDWAY)
        found.append((value, flat(state.network) - before))
    (expected, change), *others = found
    assert change.norm() > 0
    for value, changed_in_parts in others:
        assert value == pytest.approx(expected, rel=1e-5)
        assert (changed_in_parts - change).norm() < 1e-3 * change.norm()


def test_memory_is_counted_with_the_teacher(small_plan: Plan) -> None:
    plain, counted = (
        step_memory(task_of(small_plan, with_teacher(small_plan, objective)), resolve(SETTINGS), 1)
        for objective in (supervised.Spec(), mean_teacher.Spec())
    )
    network = small_plan.task().network()
    assert counted.weights == plain.weights == sum(weight.nbytes for weight in network.parameters())
    assert counted.optimizer == plain.optimizer + plain.weights
    assert counted.fixed == plain.fixed + plain.weights
    logits = 2 * 2 * 8**3 * 4  # of patches, labels, voxels, bytes: what the consistency keeps for the backward pass
    assert plain.activations + logits <= counted.activations < plain.activations + 5 * logits
    assert counted.peak >= plain.peak + plain.weights


@pytest.mark.slow
def test_timed_steps_are_those_of_the_objective(small_plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[tuple[int, float]]()
    measure, after_step = mean_teacher.MeanTeacher.measure, mean_teacher.MeanTeacher.after_step

    def measured(self: Any, forward: Any, samples: Any, progress: float) -> Any:
        seen.append((len(samples[LABELLED].keys), progress))
        return measure(self, forward, samples, progress)

    def followed(self: Any, network: torch.nn.Module) -> None:
        seen.append((0, 0.0))
        after_step(self, network)

    monkeypatch.setattr(mean_teacher.MeanTeacher, "measure", measured)
    monkeypatch.setattr(mean_teacher.MeanTeacher, "after_step", followed)
    assert time_steps(task_of(small_plan, with_teacher(small_plan)), SETTINGS) is not None
    assert len(seen) >= 6 and seen == [(2, MIDWAY), (0, 0.0)] * (len(seen) // 2)


@dataclass(frozen=True)
class Noting(supervised.Spec):
    """Supervised; notes what it was given."""

    given: Any = None

    def build(self, supervision: Any, labels: Any, network: Any, inputs: Any) -> supervised.Supervised:
        given = self.given

        class Noted(supervised.Supervised):
            def measure(self, forward: Any, samples: Any, progress: float) -> Any:
                given.append(samples)
                return super().measure(forward, samples, progress)

        return Noted(supervision)


def test_samples_carry_image_extras_targets_keys_and_spacing(small_plan: Plan) -> None:
    given = list[Any]()
    state, step = step_of(small_plan, with_teacher(small_plan, Noting(given), spacing=(4.0, 2.0, 1.0), batch_size=3))
    groups = (InputGroup("image", "image", 1), InputGroup("prior", "labels", 1), InputGroup("sign", "image", 2))
    step = replace(step, inputs=InputSpec(groups), forward=lambda images: state.network(images[:, :1]))
    made = inputs(3)
    extras = torch.randn(3, 3, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    made = replace(made, images=torch.cat((made.images, extras), 1), keys=("a", "b", "c"))
    step(state, made, 0.25)
    state.parts = 2
    step(state, made, 0.5)
    assert [samples[LABELLED].progress for samples in given] == [0.25, *[0.5] * 4]
    whole, *parts = [samples[LABELLED] for samples in given]
    assert [sorted(samples) for samples in given] == [[LABELLED]] * 5
    assert torch.equal(whole.image, made.images[:, :1]) and torch.equal(whole.targets, made.targets)
    assert list(whole.extras) == ["prior", "sign"]
    assert torch.equal(whole.extras["prior"], extras[:, :1]) and torch.equal(whole.extras["sign"], extras[:, 1:])
    assert whole.keys == ("a", "b", "c") and whole.spacing == (4.0, 2.0, 1.0)
    for first, second in (parts[:2], parts[2:]):
        assert (first.keys, second.keys) == (("a", "b"), ("c",))
        assert torch.equal(torch.cat((first.network_input, second.network_input)), made.images)


def test_samples_of_slices_have_the_spacing_of_their_patch(small_plan: Plan) -> None:
    given = list[Any]()
    network = plain_unet.Spec((4, 8), ((3, 3),) * 2, ((1, 1), (2, 2)), (1, 1), (1,))
    flat_patches = {"network": network, "patch_size": (8, 8), "spacing": (None, 0.5, 0.25)}
    state, step = step_of(small_plan, with_teacher(small_plan, Noting(given), **flat_patches))
    step(state, Inputs(torch.zeros(2, 1, 8, 8), torch.zeros(2, 8, 8, dtype=torch.uint8), ("a", "b"), 0), 0.0)
    assert given[0][LABELLED].spacing == (0.5, 0.25)
