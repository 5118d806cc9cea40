"""Laws of the training loop."""

import csv
import logging
import os
import re
import signal
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from run_settings import SETTINGS
from tasks import task_of

from autoseg.configuration import TrainingRules
from autoseg.core.labels import RegionLabels
from autoseg.core.progress import duration
from autoseg.errors import StoppedError, TrainingError
from autoseg.parts.augmentations import standard
from autoseg.parts.losses import dice_ce
from autoseg.parts.networks import plain_unet
from autoseg.preprocessing.locations import Locations
from autoseg.run_folder import RunFolder
from autoseg.run_status import StatusFile, read_status
from autoseg.settings import RunSettings
from autoseg.training.batches import training_sampler, validation_sampler
from autoseg.training.budget import Budget
from autoseg.training.cases import CaseInMemory
from autoseg.training.epoch import _line
from autoseg.training.fit import Course, fit
from autoseg.training.state import resume, start


def cases(count=4, shape=(14, 14, 14), broken=()):
    """A bright ball in noise."""
    random = np.random.default_rng(0)
    found = {}
    for number in range(count):
        centre = random.integers(4, 10, 3)
        labels = (np.indices(shape) - centre[:, None, None, None]).__pow__(2).sum(0) < 12
        image = (random.standard_normal((1, *shape)) * 0.3 + 2 * labels).astype(np.float16)
        if number in broken:
            image[:] = np.nan
        found[f"case{number}"] = CaseInMemory(image, labels.astype(np.uint8), Locations.of({1: np.argwhere(labels)}))
    return found


@dataclass(frozen=True)
class BuildsTo:
    """A part whose ``build`` gives what it holds."""

    what: object

    def build(self, labels):
        return self.what


def configured(plan, **changes):
    changes = {
        "augmentation": standard.Spec(),
        "training": TrainingRules(epochs=4, iterations_per_epoch=3),
    } | changes
    return replace(plan.configuration()[1], **changes)


def train(
    plan,
    configuration,
    folder,
    *,
    iterations,
    settings=SETTINGS,
    given=None,
    changes=lambda state: None,
    checkpoint_seconds=600.0,
    watch=None,
    status=None,
):
    """Starts or resumes a training in ``folder`` and trains until ``iterations``."""
    state = start(task_of(plan, configuration), settings)
    resume(state, folder.checkpoints)
    changes(state)
    given = given or cases()
    keys = sorted(given)
    fit(
        state,
        task_of(plan, configuration),
        training_sampler(given, keys, task_of(plan, configuration), settings.seed),
        validation_sampler(given, keys[:2], task_of(plan, configuration), settings.seed),
        course=Course(Budget(iterations), checkpoint_seconds, watch, status),
        settings=settings,
        folder=folder,
    )
    return state


def flat(network):
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def weights(state):
    return flat(state.network)


def rows(folder):
    with folder.metrics.open(newline="") as file:
        return list(csv.DictReader(file))


def stable(row):
    """A row without what the clock says."""
    changing = ("share_waiting_for_data", "memory")
    return {name: value for name, value in row.items() if "second" not in name and name not in changing}


def test_it_learns_a_bright_ball(small_plan, tmp_path):
    configuration = configured(small_plan, training=TrainingRules(epochs=4, iterations_per_epoch=25))
    train(small_plan, configuration, RunFolder(tmp_path), iterations=100)
    table = rows(RunFolder(tmp_path))
    assert [int(row["epoch"]) for row in table] == [1, 2, 3, 4]
    assert float(table[-1]["loss"]) < 0.5 * float(table[0]["loss"])
    assert float(table[-1]["dice_organ"]) > 0.9
    assert float(table[0]["learning_rate"]) > float(table[-1]["learning_rate"]) > 0


def test_it_says_when_it_ends_and_an_epoch_fits_a_line(small_plan, tmp_path, caplog):
    configuration = configured(small_plan, training=TrainingRules(epochs=1, iterations_per_epoch=12))
    with caplog.at_level("INFO", "autoseg"):
        train(small_plan, configuration, RunFolder(tmp_path), iterations=12)
    pace, epoch = [record for record in caplog.records if hasattr(record, "progress")]
    assert re.search(r"about \d+ s to go: training ends at about (\d{4}-\d\d-\d\d )?\d\d:\d\d$", pace.getMessage())
    assert (pace.progress["what"], pace.progress["done"], pace.progress["total"]) == ("training", 10, 12)
    said = r"epoch 1: loss \d\.\d{3}, Dice: patches \d\.\d{3}, \d+ % waiting for data, \d+ s left"
    assert re.fullmatch(said, epoch.getMessage())
    (row,) = rows(RunFolder(tmp_path))
    assert {*row} < {*epoch.progress} and epoch.progress["done"] == 12 and epoch.progress["seconds_left"] == 0


def test_the_longest_line_of_an_epoch_fits_100_columns():
    row = {"epoch": 1000.0, "loss": -0.8123, "dice": 0.81234, "dice_volumes": 0.8, "share_waiting_for_data": 0.123}
    assert _line(row) == "epoch 1000: loss -0.812, Dice: patches 0.812, cases 0.800, 12 % waiting for data"
    assert len(_line(row) + f", {duration(99.5 * 60)} left") <= 100


def test_a_killed_and_resumed_training_ends_bit_identical(small_plan, tmp_path):
    configuration = configured(small_plan)
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    expected = train(small_plan, configuration, whole, iterations=12)

    class Killed(Exception):
        pass

    def kill_in_the_seventh(state):
        def die(*_):
            if state.iteration == 6:
                raise Killed

        state.optimizer.register_step_post_hook(die)

    with pytest.raises(Killed):
        train(small_plan, configuration, parts, iterations=12, changes=kill_in_the_seventh, checkpoint_seconds=0.0)
    assert len(rows(parts)) == 2
    (parts.checkpoints / "iteration_00000006.pt").unlink()  # so that the second epoch's end happens again
    got = train(small_plan, configuration, parts, iterations=12)
    assert got.iteration == expected.iteration == 12
    assert torch.equal(weights(got), weights(expected))
    assert [stable(row) for row in rows(parts)] == [stable(row) for row in rows(whole)]


def scarce(iteration, most=2):
    """A change for ``train``: from that iteration on, memory suffices for no more than ``most`` patches at once."""

    def change(state):
        def refuse(network, images):
            if state.iteration >= iteration and network.training and len(images[0]) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")

        state.network.register_forward_pre_hook(refuse)

    return change


@pytest.mark.slow
@pytest.mark.parametrize("batch_dice", [False, True])
def test_too_little_memory_changes_how_a_batch_is_computed_and_not_what_is_learnt(
    small_plan, tmp_path, caplog, batch_dice
):
    configuration = configured(small_plan, batch_size=5, loss=dice_ce.Spec(batch_dice=batch_dice))
    expected = train(small_plan, configuration, RunFolder(tmp_path / "roomy"), iterations=9)
    got = train(small_plan, configuration, RunFolder(tmp_path / "scarce"), iterations=9, changes=scarce(4))
    assert (expected.parts, got.parts) == (1, 4)
    torch.testing.assert_close(weights(got), weights(expected), rtol=1e-3, atol=1e-6)
    (said,) = [record.message for record in caplog.records if "too little memory" in record.message]
    assert "for iteration 5." in said and "5 patches is computed in 4 parts" in said
    losses = [[float(row["loss"]) for row in rows(RunFolder(tmp_path / name))] for name in ("roomy", "scarce")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.slow
def test_a_training_with_too_little_memory_is_resumed_bit_by_bit(small_plan, tmp_path):
    configuration = configured(small_plan, batch_size=3)
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    expected = train(small_plan, configuration, whole, iterations=9, changes=scarce(2))

    def stopped_in_the_sixth(state):
        scarce(2)(state)
        at_iteration(5, lambda: os.kill(os.getpid(), signal.SIGTERM))(state)

    with pytest.raises(StoppedError):
        train(small_plan, configuration, parts, iterations=9, changes=stopped_in_the_sixth)
    got = train(small_plan, configuration, parts, iterations=9)  # with memory for all, and computed as before
    assert got.parts == expected.parts == 2
    assert torch.equal(weights(got), weights(expected))
    assert [stable(row) for row in rows(parts)] == [stable(row) for row in rows(whole)]


def test_the_row_of_an_epoch_that_is_not_whole_is_not_lost(small_plan, tmp_path):
    configuration = configured(small_plan)
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    train(small_plan, configuration, whole, iterations=4)
    stop = at_iteration(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(StoppedError):
        train(small_plan, configuration, parts, iterations=4, changes=stop)
    train(small_plan, configuration, parts, iterations=4)
    assert [stable(row) for row in rows(parts)] == [stable(row) for row in rows(whole)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_call_goes_on(small_plan, tmp_path, number):
    configuration = configured(small_plan)
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    expected = train(small_plan, configuration, whole, iterations=9)
    before = signal.getsignal(number)

    def ask_at_four(state):
        state.optimizer.register_step_post_hook(
            lambda *_: os.kill(os.getpid(), number) if state.iteration == 4 else None
        )

    with pytest.raises(StoppedError, match="stopped after iteration 5; to go on, run the same command again"):
        train(small_plan, configuration, parts, iterations=9, changes=ask_at_four)
    assert signal.getsignal(number) == before
    got = train(small_plan, configuration, parts, iterations=9)
    assert torch.equal(weights(got), weights(expected))
    assert [stable(row) for row in rows(parts)] == [stable(row) for row in rows(whole)]


def at_iteration(number, action):
    """A change for ``train``: ``action`` happens within that iteration."""

    def change(state):
        state.optimizer.register_step_post_hook(lambda *_: action() if state.iteration == number else None)

    return change


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no SIGUSR1")
def test_sigusr1_saves_and_goes_on(small_plan, tmp_path):
    configuration = configured(small_plan)
    whole, other = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "other")
    expected = train(small_plan, configuration, whole, iterations=9)
    ask = at_iteration(4, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    got = train(small_plan, configuration, other, iterations=9, changes=ask)
    assert [path.stem for path in sorted(other.checkpoints.iterdir())] == ["iteration_00000005", "iteration_00000009"]
    assert torch.equal(weights(got), weights(expected))


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_training(small_plan, tmp_path, caplog):
    folder = RunFolder(tmp_path)
    folder.checkpoints.touch()  # no folder can be made in its place
    state = train(
        small_plan,
        configured(small_plan),
        folder,
        iterations=9,
        changes=at_iteration(4, folder.checkpoints.unlink),
        checkpoint_seconds=0.0,
    )
    assert "no checkpoint could be written" in caplog.text
    assert state.iteration == 9 and len(list(folder.checkpoints.iterdir())) == 2


def test_a_stop_file_ends_training_well(small_plan, tmp_path):
    folder = RunFolder(tmp_path)
    folder.stop.touch()
    state = train(small_plan, configured(small_plan), folder, iterations=1000)
    assert state.iteration == 3  # seen at once, then one epoch
    rate = small_plan.configuration()[1].optimizer.learning_rate
    assert state.optimizer.param_groups[0]["lr"] == pytest.approx(rate * (1 / 3) ** 0.9)
    assert not folder.stop.exists()


def test_the_final_phase_is_resumed(small_plan, tmp_path):
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    whole.stop.parent.mkdir(), whole.stop.touch()
    parts.stop.parent.mkdir(), parts.stop.touch()
    expected = train(small_plan, configured(small_plan), whole, iterations=1000)
    stop = at_iteration(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(StoppedError):
        train(small_plan, configured(small_plan), parts, iterations=1000, changes=stop)
    got = train(small_plan, configured(small_plan), parts, iterations=1000)
    assert torch.equal(weights(got), weights(expected)) and got.iteration == expected.iteration


def test_training_ends_well_once_whole_cases_are_no_longer_segmented_better(small_plan, tmp_path):
    dice = iter([0.1, 0.5, 0.7, 0.7005, 0.6, 0.7, 0.9, 0.9, 0.9])
    rules = TrainingRules(epochs=100, iterations_per_epoch=3, patience=2)
    folder = RunFolder(tmp_path)
    state = train(
        small_plan, configured(small_plan, training=rules), folder, iterations=300, watch=lambda network: next(dice)
    )
    # The last gain is that of the third epoch; after the fifth the final phase begins, which takes one epoch.
    assert [float(row["dice_volumes"]) for row in rows(folder)] == [0.1, 0.5, 0.7, 0.7005, 0.6, 0.7]
    assert state.iteration == 18 and state.volumes_dice == 0.7


def test_a_network_that_has_learnt_nothing_yet_is_on_no_plateau(small_plan, tmp_path):
    rules = TrainingRules(epochs=4, iterations_per_epoch=1, patience=1)
    configuration = configured(small_plan, training=rules)
    assert train(small_plan, configuration, RunFolder(tmp_path), iterations=4, watch=lambda _: 0.0).iteration == 4


def test_the_average_of_the_weights_is_resumed_and_lags_behind_them(small_plan, tmp_path):
    configuration = configured(small_plan, training=TrainingRules(4, iterations_per_epoch=3, ema_decay=0.9))
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    expected = train(small_plan, configuration, whole, iterations=9)
    stop = at_iteration(4, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(StoppedError):
        train(small_plan, configuration, parts, iterations=9, changes=stop)
    got = train(small_plan, configuration, parts, iterations=9)
    average, latest = flat(expected.result), weights(expected)
    assert torch.equal(flat(got.result), average) and not torch.equal(average, latest)
    first = weights(start(task_of(small_plan, configuration), SETTINGS))
    assert (average - first).norm() < (latest - first).norm()


def test_the_average_of_the_weights_is_the_exponential_one(small_plan):
    state = start(task_of(small_plan, configured(small_plan, training=TrainingRules(4, ema_decay=0.5))), SETTINGS)
    weight = next(state.network.parameters())
    expected = None
    for number in range(12):
        with torch.no_grad():
            weight.fill_(float(number**2))
        state.average.update_parameters(state.network)
        kept = min(0.5, (1 + number) / (10 + number))
        expected = 0.0 if expected is None else kept * expected + (1 - kept) * number**2
    assert next(state.result.parameters()).flatten()[0].item() == pytest.approx(expected, rel=1e-5)


def test_where_training_stands_is_told(small_plan, tmp_path):
    folder = RunFolder(tmp_path)
    file = StatusFile.of(folder)
    file.tell()
    train(small_plan, configured(small_plan), folder, iterations=6, status=file)
    told = read_status(folder)
    assert (told.iteration, told.progress, told.seconds_left) == (6, 1.0, 0.0)
    assert 0 <= told.dice <= 1 and told.seconds_per_iteration > 0 and told.process == os.getpid()


def test_a_finished_training_is_left_alone(small_plan, tmp_path):
    folder = RunFolder(tmp_path)
    expected = train(small_plan, configured(small_plan), folder, iterations=4)
    before = folder.metrics.read_bytes()
    assert torch.equal(weights(train(small_plan, configured(small_plan), folder, iterations=4)), weights(expected))
    assert folder.metrics.read_bytes() == before


def test_a_step_without_finite_loss_changes_nothing_and_names_its_cases(small_plan, tmp_path, caplog):
    given = cases(count=6, broken=(2,))
    with caplog.at_level(logging.WARNING, "autoseg"):
        state = train(small_plan, configured(small_plan), RunFolder(tmp_path), iterations=9, given=given)
    assert "case2" in caplog.text and torch.isfinite(weights(state)).all()


def test_three_such_steps_in_a_row_end_the_training(small_plan, tmp_path):
    given = cases(count=2, broken=(0, 1))
    with pytest.raises(TrainingError, match="3 times in a row, on patches of case0, case1"):
        train(small_plan, configured(small_plan), RunFolder(tmp_path), iterations=9, given=given)


def test_a_gradient_that_overflows_whatever_its_scale_ends_the_training(small_plan, tmp_path, monkeypatch):
    monkeypatch.setattr("autoseg.settings.computes", lambda dtype: True)

    class Steep:
        """Its value is finite, its gradient is not."""

        def __call__(self, logits, target):
            return (0.0 * logits.float()).abs().sqrt().sum()

    settings = RunSettings(device="cpu", threads=1, precision="float16")
    configuration = configured(small_plan, loss=BuildsTo(Steep()))
    with pytest.raises(TrainingError, match="3 times in a row"):
        train(small_plan, configuration, RunFolder(tmp_path), iterations=100, settings=settings)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_it_trains_in_half_precision(small_plan, tmp_path, monkeypatch, precision):
    monkeypatch.setattr("autoseg.settings.computes", lambda dtype: True)  # emulated where it must be: it is small
    settings = RunSettings(device="cpu", threads=1, precision=precision)
    folder = RunFolder(tmp_path)
    state = train(small_plan, configured(small_plan), folder, iterations=6, settings=settings)
    assert torch.isfinite(weights(state)).all() and {weight.dtype for weight in state.network.parameters()} == {
        torch.float32
    }
    assert float(rows(folder)[-1]["loss"]) < float(rows(folder)[0]["loss"])


def test_a_2d_configuration_with_regions_and_ignored_voxels_trains(small_plan, tmp_path):
    labels = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2), ignore=9)
    plan = replace(small_plan, labels=labels, mirror_axes=(0, 2))
    network = plain_unet.Spec((4, 8), ((3, 3), (3, 3)), ((1, 1), (2, 2)), (1, 1), (1,))
    configuration = configured(plan, network=network, patch_size=(8, 8), batch_size=3)
    given = cases()
    for one in given.values():
        one.labels[:, :3] = 3  # the ignore index
    state = train(plan, configuration, RunFolder(tmp_path), iterations=6, given=given)
    assert torch.isfinite(weights(state)).all()
    assert set(rows(RunFolder(tmp_path))[0]) >= {"dice_whole", "dice_core"}


@pytest.mark.slow
def test_a_time_budget_ends_in_time_and_anneals(small_plan, tmp_path):
    configuration = configured(small_plan)
    state = start(task_of(small_plan, configuration), SETTINGS)
    given = cases()
    sampler = training_sampler(given, sorted(given), task_of(small_plan, configuration), 0)
    fit(
        state,
        task_of(small_plan, configuration),
        sampler,
        None,
        course=Course(Budget(None, 1.0)),
        settings=SETTINGS,
        folder=RunFolder(tmp_path),
    )
    assert 1.0 <= state.seconds_trained < 3.0
    assert state.optimizer.param_groups[0]["lr"] < 0.3 * configuration.optimizer.learning_rate
    assert "dice" in rows(RunFolder(tmp_path))[0] and int(rows(RunFolder(tmp_path))[-1]["iteration"]) == state.iteration


def test_a_budget_is_spent_by_whichever_limit_comes_first(small_plan):
    state = start(task_of(small_plan, configured(small_plan)), SETTINGS)
    state.iteration, state.seconds_trained = 5, 90.0
    assert Budget(10, 100.0).progress(state) == 0.9
    assert Budget(10).progress(state) == 0.5
    assert Budget(None, 180.0).seconds_left(state, 2.0) == 90.0
    assert Budget(10).seconds_left(state, 2.0) == 10.0
    assert Budget(10, 95.0).seconds_left(state, 2.0) == 5.0
    assert Budget.of(configured(small_plan)) == Budget(12)
    with pytest.raises(ValueError):
        Budget(None)


def test_the_seed_alone_decides_the_first_weights(small_plan):
    first, again = (start(task_of(small_plan, configured(small_plan)), SETTINGS) for _ in range(2))
    other = start(task_of(small_plan, configured(small_plan)), replace(SETTINGS, seed=1))
    assert torch.equal(weights(first), weights(again)) and not torch.equal(weights(first), weights(other))
