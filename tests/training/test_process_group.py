"""Several processes train as one does: the same weights, the same decisions. Run as a script, this is one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from own_parts import mean_teacher
from safetensors.torch import load_file
from torch import distributed

from autoseg.configuration import TrainingRules
from autoseg.core.labels import RegionLabels
from autoseg.core.records import write_json
from autoseg.errors import TrainingError
from autoseg.parts.augmentations import standard
from autoseg.parts.losses import dice_ce, top_k
from autoseg.parts.networks import plain_unet
from autoseg.parts.objectives import adversarial
from autoseg.parts.optimizers import sgd
from autoseg.plan import Plan, read_plan
from autoseg.preprocessing.prepare import class_locations
from autoseg.run_folder import RunFolder
from autoseg.settings import RunSettings
from autoseg.training.batches import training_sampler
from autoseg.training.budget import Budget
from autoseg.training.cases import CaseInMemory
from autoseg.training.fit import Course, fit
from autoseg.training.process_group import ProcessGroup, process_group_of, refuse_small_batch
from autoseg.training.state import resume, save_weights, start

SETTINGS = RunSettings(device="cpu", threads=2, precision="float32")


@given(st.integers(1, 40), st.integers(1, 8))
def test_the_shares_of_a_batch_are_the_batch_and_differ_by_one_at_most(batch_size: int, size: int) -> None:
    shares = [ProcessGroup(rank, size).shard(batch_size) for rank in range(size)]
    assert [position for share in shares for position in share] == list(range(batch_size))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1 and lengths[-1] == max(lengths)


def test_a_batch_that_is_too_small_to_share_is_refused() -> None:
    with pytest.raises(TrainingError, match="batch_size=3"):
        refuse_small_batch(2, ProcessGroup(0, 3))


def plans(plan: Plan) -> dict[str, Plan]:
    """What makes a batch more than the sum of its parts: Dice over the batch, ignored voxels, a clipped gradient,
    three scales of which one has no loss, weight decay, augmentation with noise, shares of different size, steps that
    are skipped since a case is broken, the hardest voxels of all, a teacher."""
    network = plain_unet.Spec((4, 4, 4), ((3, 3, 3),) * 3, ((1, 1, 1), (2, 2, 2), (2, 2, 2)), (1,) * 3, (1,) * 2)
    shared = replace(
        plan.configuration()[1],
        batch_size=3,
        network=network,
        augmentation=standard.Spec(noise_probability=0.8, rotation_probability=0.5),
        optimizer=sgd.Spec(learning_rate=0.05, weight_decay=0.1),
    )
    rules = TrainingRules(epochs=2, iterations_per_epoch=3, gradient_clip=0.1, ema_decay=0.5)
    exclusive = replace(shared, loss=dice_ce.Spec(batch_dice=True), training=rules)
    hardest = replace(exclusive, loss=top_k.Spec(dice_weight=1.0))
    teacher = mean_teacher.Spec(weight=20.0, noise=0.0)  # noise would be another for each process
    taught = replace(exclusive, objective=teacher, loss=dice_ce.Spec(batch_dice=False))
    fooled = replace(exclusive, objective=adversarial.Spec(1.0, (4,), 0.01))
    regions = replace(shared, loss=dice_ce.Spec(batch_dice=False), training=replace(rules, gradient_clip=100.0))
    labels = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2), ignore=9)
    return {
        "exclusive": replace(plan, configurations={"3d_fullres": exclusive}),
        "hardest": replace(plan, configurations={"3d_fullres": hardest}),
        "broken": replace(plan, configurations={"3d_fullres": replace(exclusive, batch_size=2)}),
        "taught": replace(plan, configurations={"3d_fullres": taught}),
        "fooled": replace(plan, configurations={"3d_fullres": fooled}),
        "regions": replace(plan, labels=labels, configurations={"3d_fullres": regions}),
    }


def train(
    plan: Plan, folder: RunFolder, settings: RunSettings, group: ProcessGroup, seconds: float | None = None
) -> int:
    """On balls; where the plan has an ignore label, more and more slices are ignored from case to case. In the folder
    ``broken`` a case has no numbers."""
    random, cases, configuration = np.random.default_rng(0), {}, plan.configuration()[1]
    for number in range(4):
        centre = random.integers(4, 10, (3, 1, 1, 1))
        labels = (((np.indices((14, 14, 14)) - centre) ** 2).sum(0) < 12).astype(np.uint8)
        image = (random.standard_normal((1, *labels.shape)) * 0.3 + 2 * labels).astype(np.float16)
        if folder.root.name == "broken" and number == 1:
            image[:] = np.nan
        if plan.labels.ignore_index is not None:
            labels[: 2 + 2 * number] = plan.labels.ignore_index
        cases[f"case{number}"] = CaseInMemory(image, labels, class_locations(labels, plan.labels))
    state = start(plan.task(), settings)
    resume(state, folder.checkpoints)
    course = Course(Budget.of(configuration, seconds), group=group)
    sampler = training_sampler(cases, sorted(cases), plan.task(), settings.seed, group)
    fit(state, plan.task(), sampler, None, course=course, settings=settings, folder=folder)
    if group.is_main:
        save_weights(folder.weights, state.result, state.iteration)
    return state.iteration


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(small_plan: Plan, tmp_path: Path) -> None:
    expected = {}
    for name, plan in plans(small_plan).items():
        write_json(tmp_path / name / "plan.json", plan)
        alone = RunFolder(tmp_path / "alone" / name)
        train(plan, alone, replace(SETTINGS, threads=1), ProcessGroup())
        expected[name] = load_file(alone.weights)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}  # where own_parts lies
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    for name, weights in expected.items():
        found = load_file(tmp_path / name / "weights.safetensors")
        assert found.keys() == weights.keys()
        for layer, values in weights.items():
            torch.testing.assert_close(found[layer], values, rtol=1e-4, atol=1e-6)
        assert [path.name for path in (tmp_path / name / "checkpoints").iterdir()] == ["iteration_00000006.pt"]
    # By the leader's clock both stop after the same iteration.
    assert (tmp_path / "told_0").read_text() == (tmp_path / "told_1").read_text()
    assert "1 threads, 2 processes here" in (tmp_path / "told_0").read_text()
    # Of 3 patches of 8 x 8 x 8 voxels, 2 labels and 2 scales 18 kB of logits and 2 kB of targets would be exchanged.
    exchanged = dict(line.split() for line in (tmp_path / "exchanged_0").read_text().splitlines())
    assert all(0 < int(exchanged[name]) < 200 for name in ("exclusive", "regions", "taught", "fooled"))
    assert int(exchanged["hardest"]) < 14_000  # one number per voxel, whatever the number of labels


def main(root: Path) -> None:
    """One of the processes."""
    sent, gather = list[int](), distributed.all_gather
    distributed.all_gather = lambda parts, part: sent.append(part.nbytes * len(parts)) or gather(parts, part)
    with process_group_of(SETTINGS) as (group, settings):
        for name in ("exclusive", "hardest", "broken", "taught", "fooled", "regions"):
            plan, before = read_plan(root / name / "plan.json", ("own_parts",)), sum(sent)
            train(plan, RunFolder(root / name), settings, group)
            with (root / f"exchanged_{group.rank}").open("a") as told:
                told.write(f"{name} {(sum(sent) - before) // 6}\n")  # per iteration
        timed = read_plan(root / "regions" / "plan.json")
        iterations = train(timed, RunFolder(root / "timed"), settings, group, seconds=1.0)
        told_here = f"{iterations} iterations, {settings.threads} threads, {group.beside} processes here"
        (root / f"told_{group.rank}").write_text(told_here)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
