"""Steps timed on this machine and counted for others; plans made of them, from Python and from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from autoseg.planners import plain_unet, tiny
from torch._subclasses.fake_tensor import FakeTensor

from autoseg.cli import main
from autoseg.core.records import read_json, write_json
from autoseg.data.dataset import Dataset
from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import PlanningError, UnknownPartError, UsageError
from autoseg.parts.networks._unet import UNet
from autoseg.parts.objectives import supervised
from autoseg.pipeline.bench import CountingBench, Steps, StepTime, TimingBench, of_target, this_machine
from autoseg.pipeline.changed_bench import ChangedBench
from autoseg.pipeline.demo import NAME, make_dataset
from autoseg.pipeline.make_plan import PlanRequest, make_plan
from autoseg.plan import Plan
from autoseg.planning.constraints import PlanConstraints
from autoseg.planning.measured import MeasuringPlanner
from autoseg.planning.rungs import Rung
from autoseg.planning.target import read_target
from autoseg.settings import Resolved, RunSettings
from autoseg.workspace import Workspace

pytestmark = pytest.mark.slow

SETTINGS = RunSettings(device="cpu", threads=2)
WISHES = PlanConstraints(memory=int(2e9), seconds=4.0)
SMALL = replace(tiny.PLANNER, budget_3d=replace(tiny.PLANNER.budget_3d, elements=0.5e6))
PLANNER = MeasuringPlanner("small", "", (Rung(SMALL, 100),), patience=60.0, reference=plain_unet.PLANNER)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases, measured."""
    folder = tmp_path_factory.mktemp("bench")
    raw = make_dataset(folder / NAME, cases=3, tests=0)
    assert main(["fingerprint", str(raw), "--workspace", str(folder / "workspace")]) == 0
    return folder / "workspace"


@pytest.fixture(scope="module")
def task(workspace: Path) -> tuple[Dataset, Fingerprint]:
    files = Workspace(workspace).dataset_folder(NAME)
    return files.read_dataset(), files.read_fingerprint()


@pytest.fixture(scope="module")
def kept(task: tuple[Dataset, Fingerprint], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a first planning."""
    path = tmp_path_factory.mktemp("kept") / "steps.json"
    PLANNER.plan(*task, WISHES, TimingBench(SETTINGS, path))
    return path


def again(task: tuple[Dataset, Fingerprint], path: Path, settings: RunSettings = SETTINGS) -> Plan:
    return PLANNER.plan(*task, WISHES, TimingBench(settings, path))


def test_real_steps_are_counted_and_timed(task: tuple[Dataset, Fingerprint], kept: Path) -> None:
    for configuration in again(task, kept).configurations.values():
        cost = configuration.cost
        assert cost is not None
        assert cost.timed
        assert 0 < cost.seconds
        assert cost.counted.activations < cost.counted.peak < cost.memory <= WISHES.memory
        assert cost.target == this_machine(SETTINGS).name


def test_planning_again_times_nothing_again(task: tuple[Dataset, Fingerprint], kept: Path) -> None:
    before = kept.read_bytes(), kept.stat().st_mtime_ns
    assert again(task, kept) == again(task, kept)
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == before


def test_steps_of_another_precision_are_others(small_plan: Plan, tmp_path: Path) -> None:
    """Counted on tensors without data: no processor needs to compute in bfloat16."""
    path, target = tmp_path / "steps.json", read_target("a100-40g")
    plain, half = (
        CountingBench(target, Resolved(torch.device("cpu"), dtype), kept=path).memory(small_plan.task())
        for dtype in (None, torch.bfloat16)
    )
    assert len(read_json(path, Steps).counted) == 2
    assert half.activations < plain.activations and half.weights == plain.weights


def scarce(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """From now on, memory does not suffice for more voxels at once; counting takes none."""
    forward = UNet.forward

    def limited(network: UNet, images: torch.Tensor) -> list[torch.Tensor]:
        if images.numel() > most and not isinstance(images, FakeTensor):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(network, images)

    monkeypatch.setattr(UNet, "forward", limited)


def test_a_step_for_which_memory_does_not_suffice_takes_more_than_there_is(
    small_plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So that it is not planned; how long it would take is reckoned from a smaller one."""
    bench, task = TimingBench(SETTINGS, tmp_path / "steps.json"), small_plan.task()
    scarce(monkeypatch, 8 * 8 * 4)
    seconds, taken = bench.seconds(task)
    assert taken is not None and taken > bench.target.allowed and seconds > 0
    (tried,) = read_json(tmp_path / "steps.json", Steps).timed.values()
    assert "patch 4 x 8 x 8, batch 1" in tried.what and seconds == pytest.approx(4 * tried.seconds, rel=0.01)
    assert bench.seconds(task) == (seconds, taken)


def test_where_no_step_fits_it_is_said(small_plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    scarce(monkeypatch, 0)
    with pytest.raises(PlanningError, match="too little memory for the smallest training step; end other programs"):
        TimingBench(SETTINGS, None).seconds(small_plan.task())


def test_of_a_gpu_a_plan_takes_what_others_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="Card", total_memory=24 * 10**9)
    told = {
        "device_count": lambda: 1,
        "is_bf16_supported": lambda **_: True,
        "get_device_properties": lambda device: card,
        "mem_get_info": lambda device: (int(10e9), card.total_memory),
        "memory_reserved": lambda device: int(3e9),
        "memory_allocated": lambda device: int(1e9),
    }
    for name, function in told.items():
        monkeypatch.setattr(torch.cuda, name, function)
    target = this_machine(RunSettings(device="cuda"))
    assert target.allowed == 11.52e9  # 12 that are left and 0.5 of the context, less 4 %, in whole hundredths
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(23.4e9), card.total_memory))
    assert this_machine(RunSettings(device="cuda")).allowed <= 0.96 * card.total_memory


def test_a_damaged_file_of_steps_is_as_none(tmp_path: Path) -> None:
    path = tmp_path / "steps.json"
    write_json(path, Steps(timed={"a": StepTime("", 0.25, None)}), sealed=True)
    assert TimingBench(SETTINGS, path).kept.timed
    changed = path.read_text().replace("0.25", "0.35")
    for damaged in ("{", changed, '{"timed": {"a": {"what": "", "seconds": 0.0, "bytes": null}}}'):
        path.write_text(damaged)
        assert TimingBench(SETTINGS, path).kept == Steps()


def plan(workspace: Path, *words: str) -> int:
    return main(["plan", NAME, *words, "--workspace", str(workspace), "--device", "cpu"])


def test_a_plan_for_another_machine(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--planner", "measured", "--target", "memory=1.5GB,bandwidth=100GB/s", "--time", "2h", "--explain"]
    assert plan(workspace, *words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "memory=1.5GB,bandwidth=100GB/s: one training may take 1.5 GB of memory, and 2 h 0 min, as you asked" in said
    assert "reckoned from the bandwidth" in said
    written = json.loads((workspace / NAME / "plan.json").read_text())
    assert written["planner"] == "measured"
    for configuration in written["configurations"].values():
        assert configuration["cost"]["memory"] <= 1.5e9
        assert not configuration["cost"]["timed"]


def test_a_value_changed_by_hand_has_no_counted_cost(workspace: Path) -> None:
    words = ["--planner", "measured", "--target", "memory=1.5GB,bandwidth=100GB/s", "--time", "2h"]
    assert plan(workspace, *words, "--set", "2d.batch_size=3") == 0
    written = json.loads((workspace / NAME / "plan.json").read_text())["configurations"]
    assert written["2d"]["cost"] is None
    assert written["3d_fullres"]["cost"] is not None


def test_steps_are_counted_with_the_loss_and_the_objective_that_were_chosen(small_plan: Plan) -> None:
    bench, task = of_target(read_target("a100-40g")), small_plan.task()
    plain, taught = bench.memory(task), {}
    for change in ("objective=own_parts.mean_teacher", "3d_fullres.objective=own_parts.mean_teacher"):
        taught[change] = ChangedBench(bench, (change, "batch_size=9"), ("own_parts",)).memory(task)
        assert taught[change].optimizer == plain.optimizer + plain.weights
    assert len(set(taught.values())) == 1
    assert ChangedBench(bench, ("loss=hausdorff",), ()).memory(task).activations > plain.activations
    for change in ("2d.objective=own_parts.mean_teacher", "2d.loss=hausdorff", "optimizer=adamw"):
        assert ChangedBench(bench, (change,), ("own_parts",)).memory(task) == plain


def test_patches_are_planned_for_the_objective_that_was_chosen(
    task: tuple[Dataset, Fingerprint], tmp_path: Path
) -> None:
    target, path = "memory=1.5GB,bandwidth=100GB/s", tmp_path / "steps.json"
    request = PlanRequest(
        planner="measured",
        target=target,
        constraints=PlanConstraints(seconds=7200),
        changes=("objective=own_parts.mean_teacher",),
        trusted=("own_parts",),
    )
    planned = make_plan(request, *task, path).task()
    counted = read_json(path, Steps).counted.values()
    assert of_target(read_target(target)).memory(planned) in counted
    plain = replace(planned, configuration=replace(planned.configuration, objective=supervised.Spec()))
    assert of_target(read_target(target)).memory(plain) not in counted


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--planner", "measured", "--memory", "900TB"), "name it with --target"),
        (("--planner", "measured", "--target", "abacus"), "a100-40g"),
        (("--planner", "tiny", "--memory", "8GB"), "--planner measured"),
        (("--planner", "tiny", "--target", "a100-40g"), "--planner measured"),
        (("--planner", "measured", "--set", "cost=3"), "no field 'cost'"),
    ],
)
def test_what_cannot_be_planned_for_is_said(
    workspace: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--set" in words:
        words = (*words, "--target", "memory=1.5GB,bandwidth=100GB/s", "--time", "2h")
    assert plan(workspace, *words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--memory", "lots"), ("--time", "soon")])
def test_what_is_no_amount_is_refused(workspace: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit):
        plan(workspace, *words)


def test_a_change_that_fits_no_plan_is_refused_before_the_machine_is_measured(
    task: tuple[Dataset, Fingerprint], tmp_path: Path
) -> None:
    for change, error in (("batch_sice=2", UsageError), ("network=nope", UnknownPartError), ("x", UsageError)):
        with pytest.raises(error):
            make_plan(PlanRequest(changes=(change,), settings=SETTINGS), *task, tmp_path / "steps.json")
    assert not (tmp_path / "steps.json").exists()
