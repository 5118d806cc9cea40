"""Any network can be planned: a user's own file, by its name, from a draft to a prediction."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from measured_demo import CARD, HERE, call, measured_in, plan_of
from mylab import two_encoders

from autoseg.cli import main
from autoseg.parts.readers import read_labels
from autoseg.pipeline.demo import NAME, make_dataset
from autoseg.workspace import DatasetFolder, Workspace

pytestmark = pytest.mark.slow

OWN = ("--network", "mylab.two_encoders", "--trust", "mylab")
SHORT = ("--epochs", "1", "--set", "training.iterations_per_epoch=2")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two modalities."""
    return make_dataset(tmp_path_factory.mktemp("raw") / NAME, cases=3, tests=1)


@pytest.fixture(scope="module")
def measured(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> DatasetFolder:
    """A workspace in which the images are measured, and nothing is planned."""
    return measured_in(tmp_path_factory.mktemp("measured"), raw)


def test_a_network_of_ones_own_is_drafted_measured_trained_and_predicts(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Workspace(tmp_path / "workspace").dataset_folder(NAME)
    assert call(files, "plan_and_preprocess", str(raw), *OWN) == 0
    draft = plan_of(files)
    assert (draft["draft"], draft["network"]) == (True, "mylab.two_encoders")
    assert "mylab.two_encoders, as you asked" in draft["reasons"][0]
    assert not files.steps.exists()

    assert call(files, "train", NAME, "0", "-c", "3d_fullres", "--time", "1s", "--trust", "mylab", *HERE) == 0
    plan = plan_of(files)
    assert (plan["draft"], plan["network"]) == (False, "mylab.two_encoders")
    for name, configuration in plan["configurations"].items():
        network = configuration["network"]
        assert network["name"] == "mylab.two_encoders"
        assert network["dimensions"] == len(configuration["patch_size"]) == (2 if name in ("2d", "2.5d") else 3)
        assert all(edge % two_encoders.EDGE == 0 for edge in configuration["patch_size"])
        assert configuration["cost"]["timed"]
        assert any(
            reason.startswith("network: mylab.two_encoders in size 1 of 2, as you asked")
            for reason in configuration["reasons"]
        )
    trained = json.loads(files.run("3d_fullres", "0").effective.read_text())
    assert trained["configurations"]["3d_fullres"]["network"]["name"] == "mylab.two_encoders"

    out = tmp_path / "out"
    words = ("-i", str(raw / "imagesTs"), "-o", str(out), "-m", str(files.runs("3d_fullres")))
    assert call(files, "predict", *words, *HERE) == 2, "whoever has not said that the package is trusted"
    assert "--trust mylab" in capsys.readouterr().err
    assert call(files, "predict", *words, "--trust", "mylab", *HERE) == 0
    (predicted,), (reference,) = out.glob("*.nii.gz"), (raw / "labelsTs").glob("*.nii.gz")
    assert read_labels(predicted)[0].shape == read_labels(reference)[0].shape


def test_a_draft_with_a_network_of_autoseg_needs_no_torch(raw: Path, tmp_path: Path) -> None:
    asked = "modular_unet:block=dense,attention=channel"
    words = ["plan_and_preprocess", str(raw), "--network", asked, "--workspace", str(tmp_path)]
    code = f"import sys; from autoseg.cli import main; assert main({words!r}) == 0; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert plan_of(Workspace(tmp_path).dataset_folder(NAME))["network"] == asked


def test_a_network_asked_for_twice_is_refused_before_the_machine_is_measured(
    measured: DatasetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = measured.steps.read_bytes() if measured.steps.exists() else None
    assert call(measured, "plan", NAME, "--network", "residual_unet", "--set", "network=plain_unet", *HERE) == 2
    assert "--network plain_unet" in " ".join(capsys.readouterr().err.split())
    assert (measured.steps.read_bytes() if measured.steps.exists() else None) == steps


def test_the_explanation_says_that_the_network_was_asked_for(
    measured: DatasetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(measured, "plan", NAME, *OWN, *CARD, "--explain") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "network mylab.two_encoders in size 2 of 2, as you asked, the largest" in said
    assert "is a multiple of 4 x 4 x 4 as the network asks" in said


@pytest.mark.parametrize("network", ["plain_unet", "residual_unet"])
def test_networks_of_autoseg_are_planned_by_their_names(measured: DatasetFolder, network: str) -> None:
    assert call(measured, "plan", NAME, "--network", network, *CARD) == 0
    planned = plan_of(measured)["configurations"]
    assert {name: configuration["network"]["name"] for name, configuration in planned.items()} == dict.fromkeys(
        planned, network
    )
    assert {len(configuration["patch_size"]) for configuration in planned.values()} == {2, 3}


def test_a_network_is_planned_with_the_fields_that_are_named_with_it(measured: DatasetFolder) -> None:
    asked = "modular_unet:encoder=resnet,attention=channel"
    assert call(measured, "plan", NAME, "--network", asked, *CARD) == 0
    found = plan_of(measured)
    assert found["network"] == asked
    for configuration in found["configurations"].values():
        network = configuration["network"]
        assert (network["name"], network["encoder"], network["attention"]) == ("modular_unet", "resnet", "channel")
        assert network["blocks_encoder"][:3] == [1, 3, 4] and network["block"] == "plain"
        assert any(f"network: {asked} in size" in reason for reason in configuration["reasons"])


def test_a_field_of_the_network_that_was_asked_for_can_be_set(measured: DatasetFolder) -> None:
    assert call(measured, "plan", NAME, *OWN, *CARD, "--set", "network.features=4,8,12") == 0
    planned = plan_of(measured)["configurations"]
    assert all(configuration["network"]["features"] == [4, 8, 12] for configuration in planned.values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--network", "mylab.two_encoders"), "--trust mylab"),
        (("--network", "nope"), "no 'nope' in autoseg.parts.networks; choose one of "),
        (("--network", "plain_unet", "--planner", "residual_m"), "planner residual_m plans its own networks only"),
        (("--network", "plain_unet", "--planner", "cpu"), "planner cpu plans its own networks only"),
        (("--network", "plain_unet", "--from", "nnUNetPlans.json"), "nnUNetPlans.json plans its own networks only"),
        (("--network", "modular_unet:block=dens"), "block must be one of plain, residual, dense"),
        (("--network", "modular_unet:blok=dense"), "has no field 'blok' to choose; did you mean block?"),
        (("--network", "modular_unet:block=dense", "--planner", "tiny"), "planner tiny plans its own networks only"),
        (("--network", "mylab.no_ladder", "--trust", "mylab"), "says nothing of its sizes"),
        (("--network", "mylab.no_network", "--trust", "mylab"), "this is no network, its Spec lacks divisor"),
    ],
)
def test_a_network_that_cannot_be_planned_is_refused_before_images_are_read(
    raw: Path, tmp_path: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan_and_preprocess", str(raw), *words, "--workspace", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_another_network_is_planned_and_not_set(measured: DatasetFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(measured, "plan", NAME, "--planner", "tiny") == 0
    before = measured.plan.read_bytes()
    for change in ("network=residual_unet", "2d.network=residual_unet", "network.name=residual_unet"):
        for command in (("plan", NAME, "--planner", "tiny"), ("train", NAME, "0")):
            assert call(measured, *command, "--set", change) == 2
            assert f"run `autoseg plan {NAME} --network residual_unet`" in capsys.readouterr().err
    assert measured.plan.read_bytes() == before
    assert call(measured, "plan", NAME, "--planner", "tiny", "--set", "network=plain_unet") == 0
