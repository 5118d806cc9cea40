"""Pruning: what a part of a network predicts, and which part `select` finds to be enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autoseg.cli import main
from autoseg.core.estimate import Estimate
from autoseg.core.inputs import InputSpec
from autoseg.core.records import read_json, write_json
from autoseg.evaluation.pruning import Pruned, PruningTest
from autoseg.evaluation.selection import RECORD, Selection
from autoseg.inference.model import Model
from autoseg.parts.networks.unet_plus_plus import DECODERS, Spec
from autoseg.pipeline.demo import NAME, make_dataset
from autoseg.pipeline.predicted_again import LEAST_GAIN
from autoseg.pipeline.pruning import pruned
from autoseg.workspace import Workspace

pytest.importorskip("monai")
SMALL = Spec(3, (4, 4, 8, 8, 8))


@pytest.mark.parametrize("spec", [SMALL, Spec(2, (4, 4, 8, 8, 8))], ids=["3d", "2d"])
def test_every_decoder_is_that_of_the_paper_as_monai_builds_it(spec: Spec) -> None:
    torch.manual_seed(0)
    network = spec.build(InputSpec.of_image(2), 3).eval()
    images = torch.randn(1, 2, *(32,) * spec.dimensions)
    with torch.inference_mode():
        scales = network(images)
        theirs = [head(maps) for head, maps in zip(network.heads, network.network(images)[::-1])]
        assert len(theirs) == DECODERS
        for ours, expected in zip(scales, theirs):
            torch.testing.assert_close(ours, expected)
        for part in spec.prunings:
            smaller = part.build(InputSpec.of_image(2), 3).eval()
            smaller.load_state_dict(network.state_dict())
            (found,) = smaller(images)
            torch.testing.assert_close(found, scales[DECODERS - part.decoder])
            torch.testing.assert_close(smaller.last(smaller.maps(images)), found)
            taught = smaller.train()(images)
            assert len(taught) == len(scales)  # all are trained
    assert [part.decoder for part in spec.prunings] == [1, 2, 3] and spec.prunings[0].prunings == ()


def test_what_is_not_needed_is_not_computed() -> None:
    network = replace(SMALL, decoder=1).build(InputSpec.of_image(1), 2).eval()
    seen: list[str] = []
    for name, module in network.network.named_children():
        module.register_forward_hook(lambda module, given, found, name=name: seen.append(name))
    with torch.inference_mode():
        network(torch.zeros(1, 1, 16, 16, 16))
    assert seen == ["conv_0_0", "conv_1_0", "upcat_0_1"]


@pytest.mark.parametrize("chosen", [None, 1])
def test_what_was_tried_is_written_and_read(chosen: int | None, tmp_path: Path) -> None:
    dice = Estimate(0.5, 0.4, 0.6, 3)
    tried = tuple(Pruned(part, dice, loss, dice, 0.1) for part, loss in zip(SMALL.prunings, (0.1, 0.0, None)))
    test = PruningTest(chosen, dice, 0.2, tried)
    write_json(tmp_path / "test.json", test)
    found = read_json(tmp_path / "test.json", PruningTest)
    assert found == test and found.network == (None if chosen is None else SMALL.prunings[1])
    assert found.told("3d")[-1].strip() == ("all will predict" if chosen is None else "decoder 2 will predict")


@pytest.mark.slow
def test_select_finds_the_part_that_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, where = make_dataset(tmp_path / NAME, cases=4, tests=0), ["--workspace", str(tmp_path / "workspace")]
    assert main(["plan_and_preprocess", str(raw), "--planner", "tiny", "-c", "3d_fullres", "--no-report", *where]) == 0
    files = Workspace(tmp_path / "workspace").dataset_folder(NAME)
    plan = files.read_plan()
    grid = plan.configurations["3d_fullres"]
    short = replace(grid.training, epochs=1, iterations_per_epoch=8)
    grid = replace(grid, network=SMALL, patch_size=(16, 32, 32), batch_size=2, training=short)
    write_json(files.plan, replace(plan, configurations={"3d_fullres": grid}, default="3d_fullres", mirror_axes=()))
    assert main(["train", NAME, "cv", "-f", "0", "1", "--device", "cpu", "--no-report", *where]) == 0
    capsys.readouterr()
    assert main(["select", NAME, "-f", "0", "1", "--device", "cpu", "--no-report", *where]) == 0
    said = capsys.readouterr().out
    found = read_json(files.selection / RECORD, Selection).pruning["3d_fullres"]
    assert [each.network.decoder for each in found.tried] == [1, 2, 3]
    enough = [place for place, each in enumerate(found.tried) if each.loss is not None and each.loss < LEAST_GAIN]
    assert found.chosen == (enough[0] if enough else None)
    chosen = found.network
    assert (f"decoder {chosen.decoder} will predict" if chosen else "all will predict") in said
    whole = Model.read(files.run("3d_fullres", "0").root)
    assert isinstance(whole, Model) and whole.configuration.network == SMALL
    model = Model.read(files.selected)
    assert isinstance(model, Model) and model.configuration.network == (chosen or SMALL)
    first = pruned(whole, found.tried[0].network)
    assert first.networks[0].decoder == 1  # type: ignore[union-attr]
    assert first.networks[0].state_dict().keys() == whole.networks[0].state_dict().keys()
