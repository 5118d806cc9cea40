"""DropoutSamples of dropout are networks of their own, alike whenever they are asked, whose mean probability counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from run_settings import SETTINGS
from small_models import EXCLUSIVE, GEOMETRY, MANY_LABELS, REGIONS, bundle, image, plan_of, predict, prepared
from torch import nn

from autoseg.core.geometry import Geometry, Image
from autoseg.core.inputs import InputSpec
from autoseg.core.labels import ExclusiveLabels, Labels
from autoseg.core.process import MemoryPeak, resident_bytes
from autoseg.core.records import from_json, to_json
from autoseg.errors import UsageError
from autoseg.inference import sliding_window
from autoseg.inference.accumulator import Space
from autoseg.inference.entropy import disagreement, summand
from autoseg.inference.mc_dropout import DropoutSamples, Thinned, has_dropout
from autoseg.inference.model import Model
from autoseg.inference.options import PredictOptions
from autoseg.inference.outputs import chosen
from autoseg.inference.sliding_window import SlidingWindow
from autoseg.parts.networks import plain_unet
from autoseg.plan import Plan
from autoseg.settings import resolve

RUN = resolve(SETTINGS, predicting=True)


def dropped(seed: int, heads: int, dropout: float = 0.5) -> nn.Module:
    ones = (1,) * 3
    spec = plain_unet.Spec((4, 6), ((3,) * 3,) * 2, (ones, (2,) * 3), (1, 1), (1,), dropout)
    torch.manual_seed(seed)
    built = spec.build(InputSpec.of_image(1), heads).eval()
    for parameter in built.heads.parameters():
        nn.init.normal_(parameter)
    return built


def window(networks: list[nn.Module], array: np.ndarray, labels: Labels, count: int, **more) -> SlidingWindow:
    samples = DropoutSamples(count, 3, labels, len(networks))
    settings = {"heads": labels.heads, "batch_size": 2, "run": RUN, "members_of": labels, "samples": samples}
    return SlidingWindow(networks, array, (8, 8, 8), **settings, mirror_axes=more.pop("mirror_axes", (2,)), **more)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def with_dropout(plan: Plan, dropout: float) -> Plan:
    changed = {
        name: replace(each, network=replace(each.network, dropout=dropout))
        for name, each in plan.configurations.items()
    }
    return replace(plan, configurations=changed)


def test_a_sample_leaves_out_the_same_whole_maps_wherever_it_is_asked() -> None:
    layers = nn.Sequential(nn.Dropout3d(0.25), nn.Dropout3d(0.25)).eval()
    ones = torch.ones(3, 400, 2, 2, 2)
    with Thinned(5):
        found = layers(ones)
    with Thinned(5):
        again = layers(ones[:1])
    with Thinned(6):
        other = layers(ones)
    assert torch.equal(found[:1], again) and not torch.equal(found, other)
    assert (found == found[:1, :, :1, :1, :1]).all()  # each map as a whole, and of all patches
    torch.testing.assert_close(found.unique(), torch.tensor([0.0, 1 / 0.75**2]))  # two layers
    assert (found != 0).float().mean().item() == pytest.approx(0.75**2, abs=0.1)  # two independent draws
    assert torch.equal(layers(ones), ones)


def test_dropout_of_single_values_and_of_all_of_them() -> None:
    ones = torch.ones(2, 3, 4, 4)
    with Thinned(1):
        found, none = nn.Dropout(0.5).eval()(ones), nn.Dropout2d(1.0).eval()(ones)
    assert len(found[0, 0].unique()) == 2 and torch.equal(found[0], found[1])
    assert not none.any()


def test_other_threads_are_not_sampled() -> None:
    layer, ones, seen = nn.Dropout3d(0.5).eval(), torch.ones(1, 50, 2, 2, 2), []
    with Thinned(1):
        thread = Thread(target=lambda: seen.append(layer(ones)))
        thread.start()
        thread.join()
    assert torch.equal(seen[0], ones)


@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS, MANY_LABELS], ids=["exclusive", "regions", "many"])
def test_the_mean_of_probabilities_counts_and_each_sample_is_a_member(labels: Labels) -> None:
    networks, array = [dropped(seed, labels.heads) for seed in range(2)], noise(1, 8, 8, 8)
    one = window(networks, array, labels, 3)
    found = one.read(0, 8)
    means, summands = [], []
    with torch.inference_mode():
        for number, each in enumerate(networks):
            for axes in ((), (4,)):
                chances = []
                for seed in DropoutSamples(3, 3, labels, 2).seeds[number]:
                    with Thinned(seed):
                        logits = each(torch.from_numpy(array)[None].flip(axes))[0].flip(axes)[0].movedim(0, -1)
                    chances.append(labels.probabilities(logits))
                    summands.append(summand(logits, labels))
                mean = torch.stack(chances).mean(0)
                means.append(mean.logit() if labels is REGIONS else mean.log())
    expected = torch.stack(means).mean(0)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert one.disagreement is not None
    by_hand = disagreement(torch.stack(summands).mean(0), labels)
    torch.testing.assert_close(one.disagreement(0, 8), by_hand, rtol=1e-3, atol=1e-5)


class Switch(nn.Module):
    """Surely the first label, or surely the second where its only map is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout3d(0.5)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        on = self.drop(torch.ones_like(images)) - 1  # 1 or -1
        return [200 * torch.cat((on, -on), 1)]


def test_samples_that_are_sure_of_opposites_have_the_entropy_of_their_share() -> None:
    labels = ExclusiveLabels({"background": 0, "organ": 1})
    one = window([Switch().eval()], noise(1, 8, 8, 8), labels, 8, mirror_axes=())
    chances = one.read(0, 8).softmax(-1)
    first = chances[0, 0, 0, 0].item()
    assert 0 < first < 1 and first * 8 == pytest.approx(round(first * 8), abs=1e-4)
    bits = -(first * np.log2(first) + (1 - first) * np.log2(1 - first))
    assert one.disagreement is not None
    torch.testing.assert_close(one.disagreement(0, 8), torch.full((8, 8, 8), bits), rtol=1e-4, atol=1e-5)


def test_patches_that_are_alike_are_sampled_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    array = noise(1, 20, 8, 8)
    array[:, 8:] = 0
    networks = [dropped(seed, 3) for seed in range(2)]

    def found() -> tuple[torch.Tensor, torch.Tensor]:
        one = window(networks, array, EXCLUSIVE, 2)
        values = one.read(0, 20)
        assert one.disagreement is not None
        return values, one.disagreement(0, 20)

    known = found()
    monkeypatch.setattr(sliding_window, "KNOWN_BYTES", 0)
    for one, other in zip(known, found(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [{"3d_fullres": 1.0}, {"3d_fullres": 0.75, "2d": 0.25}], ids=["one", "ensemble"])
def test_dropout_is_off_unless_samples_are_asked_for(small_plan: Plan, tmp_path: Path, kind: dict[str, float]) -> None:
    plan = plan_of(small_plan, EXCLUSIVE)
    without, model = (
        Model.read(bundle(tmp_path / name, each, kind), settings=SETTINGS)
        for name, each in {"without": plan, "with": with_dropout(plan, 0.3)}.items()
    )
    asked = {"outputs": ("uncertainty",), "probabilities": "float32"}

    def found(model, options: PredictOptions) -> dict[str, np.ndarray]:
        results = model.segment(image(), options, **asked).results
        return {name: results[name] if name == "label_map" else results[name].values for name in results}

    plain, sampled = PredictOptions("none"), PredictOptions("none", mc_dropout=4)
    first, second = found(model, sampled), found(model, sampled)
    for name, values in found(without, plain).items():
        np.testing.assert_array_equal(found(model, plain)[name], values)
        np.testing.assert_array_equal(first[name], second[name])
    assert not np.array_equal(first["probabilities"], found(model, plain)["probabilities"])
    assert model.passes(sampled) == 4 * model.passes(plain)
    with pytest.raises(UsageError, match=r"the model has no dropout.*--set network\.dropout=0\.2"):
        without.segment(image(), sampled)
    with pytest.raises(UsageError, match="the model has no dropout"):
        without.predict(np.zeros((8, 8, 8), np.float32), (2.0, 2.0, 2.0), mc_dropout=2)


@pytest.mark.slow
def test_the_same_command_gives_the_same_files(small_plan: Plan, tmp_path: Path, capsys) -> None:
    folder = prepared(with_dropout(small_plan, 0.3), EXCLUSIVE, tmp_path)
    files = []
    for _ in range(2):
        assert predict(folder, "--mc-dropout", "2", "--also", "uncertainty", "--no-report", "--overwrite") == 0
        files.append({path.name: path.read_bytes() for path in (folder / "out").rglob("*.nii.gz")})
    assert files[0] == files[1] and len(files[0]) == 2  # of each case two, one in a folder of its own
    prepared(small_plan, EXCLUSIVE, tmp_path / "plain")
    assert predict(tmp_path / "plain", "--mc-dropout", "2") == 2
    assert "the model has no dropout" in capsys.readouterr().err


@pytest.mark.parametrize("count", [-1, 1001, 1.5, True, "2", None])
def test_a_number_of_samples_is_a_whole_number(count: object) -> None:
    with pytest.raises(UsageError, match="mc_dropout must be a whole number, 0 to 1000"):
        PredictOptions(mc_dropout=count)  # type: ignore[arg-type]


def test_a_network_without_dropout_is_as_it_was(small_plan: Plan) -> None:
    spec = small_plan.configuration()[1].network
    assert spec.dropout == 0 and not any(spec.drops)
    said = to_json(spec)
    said.pop("dropout")
    assert from_json(type(spec), said) == spec  # a plan of before
    built = spec.build(InputSpec.of_image(1), 2)
    assert not has_dropout(built) and has_dropout(replace(spec, dropout=0.1).build(InputSpec.of_image(1), 2))
    state = torch.get_rng_state()
    built.train()(torch.zeros(1, 1, 8, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)  # nothing is drawn


@pytest.mark.parametrize("value", [-0.1, 1.0, 2, 1e300, float("nan"), float("inf")])
def test_dropout_is_a_share(small_plan: Plan, value: float) -> None:
    with pytest.raises(ValueError, match="dropout must be"):
        replace(small_plan.configuration()[1].network, dropout=value)


def test_the_deeper_half_of_the_stages_drops() -> None:
    kernels, strides = ((3,) * 3,) * 5, ((1,) * 3, *((2,) * 3,) * 4)
    spec = plain_unet.Spec((2, 2, 2, 2, 2), kernels, strides, (1,) * 5, (1,) * 4, 0.1)
    assert spec.drops == (False, False, True, True, True)
    layers = [name for name, each in spec.build(InputSpec.of_image(1), 2).named_modules() if type(each) is nn.Dropout3d]
    assert layers == ["dropout.2", "dropout.3", "dropout.4"]


def test_samples_and_their_mean_are_counted(small_plan: Plan) -> None:
    task = replace(small_plan, labels=MANY_LABELS).task()
    model = Model(task, (dropped(0, MANY_LABELS.heads),), ("0",), SETTINGS)
    plain, sampled = model.need(GEOMETRY), model.need(GEOMETRY, options=PredictOptions(mc_dropout=2))
    assert sampled.window == 4 * MANY_LABELS.heads * plain.window // (4 * 4)  # logits instead of four feature maps
    assert sampled.fixed > plain.fixed


@pytest.mark.slow
@pytest.mark.skipif(resident_bytes() == 0, reason="the system does not tell what a process holds")
def test_samples_take_no_more_than_is_counted(small_plan: Plan) -> None:
    labels = ExclusiveLabels({"background": 0, **{f"organ {number}": number for number in range(1, 40)}})
    configuration = replace(small_plan.configuration()[1], patch_size=(24, 48, 48))
    plan = replace(small_plan, labels=labels, configurations={small_plan.default: configuration}, axis_order=(0, 1, 2))
    model = Model(plan.task(), (dropped(0, 40),), ("0",), SETTINGS)
    array, options = noise(1, 48, 96, 96), PredictOptions("none", step=1, mc_dropout=2)
    small = model.prepare(Image(array[:, :24, :48, :48].copy(), Geometry.plain((24, 48, 48), (2.0,) * 3)))
    model.decide(small, options)  # what libraries load at their first use is no image's
    case = model.prepare(Image(array, Geometry.plain((48, 96, 96), (2.0,) * 3)))
    need = model.need(case.geometry, chosen(), options=options)
    peak = MemoryPeak()
    model.decide(case, options, space=Space(None))
    taken = peak.bytes()
    if taken is None:
        pytest.skip("the system does not tell the peak")
    assert taken < need.fixed + need.window
