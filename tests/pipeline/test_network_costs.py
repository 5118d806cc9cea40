"""What networks cost in place of the planned one: its patch and batch, counted, and named where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoseg.cli import main
from autoseg.configuration import NETWORKS, StepMemory
from autoseg.core.inputs import InputSpec
from autoseg.core.records import write_json
from autoseg.pipeline import network_costs as story
from autoseg.pipeline.part_table import cost_table
from autoseg.plan import Plan
from autoseg.planning.target import read_target
from autoseg.task import Task
from autoseg.workspace import DatasetFolder, Workspace


class Bench:
    """Counts weights only, and remembers what it was asked."""

    target = read_target("rtx3090-24g")

    def __init__(self, *given: Any) -> None:
        self.asked: list[Task] = []

    def memory(self, task: Task) -> StepMemory:
        count = sum(weight.numel() for weight in task.network().parameters())
        return StepMemory(4 * count, 0, 0, 0, 4 * count)

    def seconds(self, task: Task) -> tuple[float, None]:
        self.asked.append(task)
        return 0.5, None


@pytest.fixture
def files(small_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetFolder:
    monkeypatch.setattr(story, "TimingBench", Bench)
    found = Workspace(tmp_path).dataset_folder(small_plan.dataset)
    write_json(found.plan, small_plan)
    return found


def test_networks_are_counted_with_the_plans_patch(files: DatasetFolder, small_plan: Plan) -> None:
    name, costs = story.network_costs(files, ["plain_unet", "residual_unet", "unpaired_unet"])
    own, other, unfit = costs
    configuration = small_plan.configurations[name]
    network = configuration.network.build(InputSpec.of_image(len(small_plan.channels)), small_plan.labels.heads)
    assert own.size is None and own.parameters == sum(weight.numel() for weight in network.parameters())
    assert own.patch_size == configuration.patch_size and own.seconds == 0.5 and own.problem is None
    sizes = len(NETWORKS.load("residual_unet").ladder((1.0,) * 3, (32,) * 3))
    if other.problem is None:
        assert other.size is not None and other.size.endswith(f"of {sizes}") and (other.parameters or 0) > 0
    assert unfit.parameters is None and "one channel only" in (unfit.problem or "")
    table = cost_table(costs, 80)
    assert max(map(len, table.splitlines())) <= 80 and "as planned" in table


def test_a_network_that_needs_more_than_there_is_is_not_timed(files: DatasetFolder, monkeypatch: Any) -> None:
    huge = StepMemory(4, 0, 0, 0, 1 << 50)
    monkeypatch.setattr(Bench, "memory", lambda self, task: huge)
    (cost,) = story.network_costs(files, ["plain_unet"])[1]
    assert cost.seconds is None and "more memory than" in (cost.problem or "") and cost.parameters == 1


@pytest.mark.slow
def test_the_command_lists_every_network(files: DatasetFolder, small_plan: Plan, capsys: Any, monkeypatch: Any) -> None:
    write_json(files.dataset, {})  # a dataset is known by this file
    monkeypatch.setattr("autoseg.commands._options.dataset_folder", lambda options, writing: files)
    assert main(["parts", "networks", "-d", small_plan.dataset, "--json", "--workspace", str(files.root.parent)]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [each["name"] for each in result["networks"]] == [*NETWORKS]
