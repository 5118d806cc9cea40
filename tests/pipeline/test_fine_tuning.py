"""A dataset is planned like a trained model and its training begins with that model's weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from autoseg.cli import main
from autoseg.interop.nnunet_weights import names, to_nnunet
from autoseg.pipeline.demo import NAME, make_dataset
from autoseg.plan import read_plan
from autoseg.training.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow

OTHER = "Dataset998_Other"
HERE = ("--device", "cpu", "--threads", "1")
ONE = ("--epochs", "1", "--set", "training.iterations_per_epoch=1", "--no-report")


def call(workspace: Path, *words: str | Path) -> int:
    return main([*map(str, words), "--workspace", str(workspace)])


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace, in which the demo's dataset is trained and another one is planned like it: its
    channels come in another order, and it has a label of another name."""
    folder = tmp_path_factory.mktemp("tuned")
    raw = make_dataset(folder / NAME, cases=3, tests=1)
    described = json.loads((raw / "dataset.json").read_text())
    other = folder / OTHER
    shutil.copytree(raw, other)
    first, second = described["channel_names"].values()
    labels = {name.replace("lesion", "cyst"): value for name, value in described["labels"].items()}
    changed = described | {"channel_names": {"0": second, "1": first}, "labels": labels}
    (other / "dataset.json").write_text(json.dumps(changed))
    for path in [*other.rglob("*_0000.nii.gz")]:
        partner = path.with_name(path.name.replace("_0000", "_0001"))
        path.rename(path.with_suffix(".swap")), partner.rename(path), path.with_suffix(".swap").rename(partner)
    workspace = folder / "workspace"
    small = ("--planner", "tiny", "-c", "3d_fullres", "--set", "network.features=[4,8,8]", "--no-report", *HERE)
    assert call(workspace, "plan_and_preprocess", raw, *small) == 0
    assert call(workspace, "train", NAME, "0", *ONE, *HERE) == 0
    assert call(workspace, "plan_and_preprocess", other, "--from", NAME, "--no-report", *HERE) == 0
    (other / "notes.pth").write_text("no checkpoint")
    torch.save({"weights": {}}, other / "empty.pth")
    return folder


def test_the_plan_takes_the_networks_side_from_the_model_and_the_images_from_the_dataset(there: Path) -> None:
    one, two = (read_plan(there / "workspace" / name / "plan.json") for name in (NAME, OTHER))
    (name, mine), (theirs_name, theirs) = two.configuration(), one.configuration()
    assert name == theirs_name and two.channels == one.channels[::-1] and "cyst" in two.labels.foreground
    for field in ("spacing", "patch_size", "batch_size", "network", "optimizer", "schedule", "loss"):
        assert getattr(mine, field) == getattr(theirs, field), field
    assert mine.reasons[0].startswith("planner: spacing, patch, network and training of 3d_fullres of the model")


def test_weights_are_taken_noted_and_kept_when_the_encoder_stays(there: Path, tmp_path: Path, capsys: object) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(there / "workspace", workspace)
    words = ("--init", NAME, "--encoder-rate", "0")
    assert call(workspace, "train", OTHER, "1", *words, *ONE, *HERE) == 0
    given = load_file(workspace / NAME / "runs" / "3d_fullres" / "fold_0" / "weights.safetensors")
    run = workspace / OTHER / "runs" / "3d_fullres" / "fold_1"
    found = load_file(run / "weights.safetensors")
    kernel = next(name for name, weight in given.items() if weight.dim() == 5 and weight.shape[1] == 2)
    torch.testing.assert_close(found[kernel], given[kernel].flip(1))  # the other order of channels
    encoder = [name for name in given if "encoder" in name.split(".") and name != kernel]
    assert encoder and all(torch.equal(found[name], given[name]) for name in encoder)
    assert any(not torch.equal(found[name], given[name]) for name in given if name not in (*encoder, kernel))
    noted = read_plan(run / "plan.json").configuration()[1].initial
    assert noted is not None and noted.source.endswith("3d_fullres fold_0") and noted.encoder_rate == 0
    assert str(workspace) not in (run / "plan.json").read_text()


def test_a_training_goes_on_without_being_told_again_and_not_with_another_model(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(there / "workspace", workspace)
    words = ("--init", NAME, "--encoder-rate", "0")
    assert call(workspace, "train", OTHER, "0", *words, *ONE, *HERE) == 0
    shutil.rmtree(workspace / NAME / "runs")
    run = workspace / OTHER / "runs" / "3d_fullres" / "fold_0"
    before = load_file(run / "weights.safetensors")
    longer = ("--epochs", "2", *ONE[2:], "--extend")
    assert call(workspace, "train", OTHER, "0", *longer, *HERE) == 0
    after = load_file(run / "weights.safetensors")
    encoder = {name for name in before if "encoder" in name.split(".")}
    assert encoder and all(torch.equal(before[name], after[name]) for name in encoder)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert read_plan(run / "plan.json").configuration()[1].initial is not None
    capsys.readouterr()
    shutil.copytree(workspace / OTHER / "runs" / "3d_fullres", tmp_path / "moved")
    again = ("--init", tmp_path / "moved", "--epochs", "3", *ONE[2:], "--extend")
    assert call(workspace, "train", OTHER, "0", *again, *HERE) != 0
    assert "was started with another plan" in capsys.readouterr().err


def test_a_checkpoint_of_nnunet_is_taken_as_far_as_it_goes(there: Path, tmp_path: Path) -> None:
    """An encoder alone, of one nameless channel, as self-supervised trainings write it."""
    workspace = tmp_path / "workspace"
    shutil.copytree(there / "workspace", workspace)
    plan = read_plan(workspace / OTHER / "plan.json")
    configuration = plan.configuration()[1]
    given = load_file(workspace / NAME / "runs" / "3d_fullres" / "fold_0" / "weights.safetensors")
    encoder = {
        name: weight[:, :1] if weight.dim() == 5 and weight.shape[1] == 2 else weight
        for name, weight in to_nnunet(given, configuration).items()
        if name.startswith("encoder.")
    }
    torch.save({"network_weights": encoder}, tmp_path / "checkpoint_final.pth")
    init = ("--init", tmp_path / "checkpoint_final.pth", "--encoder-rate", "0")
    assert call(workspace, "train", OTHER, "0", *init, *ONE, *HERE) == 0
    found = load_file(workspace / OTHER / "runs" / "3d_fullres" / "fold_0" / "weights.safetensors")
    called = names(configuration.network)
    for ours, theirs in called.items():
        if theirs.startswith("encoder."):
            torch.testing.assert_close(found[ours], encoder[theirs].expand_as(found[ours]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--encoder-rate", "0.5"), "--encoder-rate is about weights that --init takes"),
        (("--init", "nowhere"), "there is no model 'nowhere'"),
        (("--init", NAME, "--encoder-rate", "2"), "must be a number from 0 to 1"),
        (("--init", "{other}/dataset.json"), "dataset.json"),
        (("--init", "{other}/notes.pth"), "notes.pth"),
        (("--init", "{other}/empty.pth"), "holds no network_weights"),
        (("--init", NAME, "--set", "network.features=[12,24,24]"), "can come from"),
    ],
)
def test_what_cannot_be_is_refused(
    there: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(other=there / OTHER) for word in words]
    try:
        code = call(there / "workspace", "train", OTHER, "0", *given, *ONE, *HERE)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (there / "workspace" / OTHER / "runs" / "3d_fullres" / "fold_0" / "checkpoints").exists()


def test_a_network_that_is_not_decided_yet_is_refused(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(there / "workspace" / NAME, workspace / NAME)
    assert call(workspace, "train", there / OTHER, "0", "--init", NAME, *ONE, *HERE) == 2
    assert (
        "Plan with that first: `autoseg plan_and_preprocess Dataset998_Other --from MODEL`" in capsys.readouterr().err
    )


def test_a_checkpoint_goes_on_bit_by_bit(there: Path, tmp_path: Path) -> None:
    """Two epochs at once, and one after the other: a slowed encoder is slowed in both."""
    two = ("--epochs", "2", *ONE[2:])
    weights = []
    for number, steps in enumerate((["2"], ["1", "2"])):
        workspace = tmp_path / str(number)
        shutil.copytree(there / "workspace", workspace)
        for epochs in steps:
            words = ("--init", NAME, "--encoder-rate", "0.1", *two[2:], "--extend")
            assert call(workspace, "train", OTHER, "0", "--epochs", epochs, *words, *HERE) == 0
        folder = workspace / OTHER / "runs" / "3d_fullres" / "fold_0" / "checkpoints"
        weights.append(read_checkpoint(max(folder.glob("*.pt")))["network"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
