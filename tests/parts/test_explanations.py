"""Explanations light up where evidence was planted, and equal captum's where captum has the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from planted import EDGE, SHIFT, Planted, around
from torch import Tensor, nn
from torch.nn import functional

from autoseg.core.inputs import InputSpec
from autoseg.core.scene import Scene
from autoseg.errors import UsageError
from autoseg.parts.explanation_contract import Explanation
from autoseg.parts.explanations import attention, grad_cam, guided_backpropagation, lime, occlusion, self_attention
from autoseg.parts.networks import attention_unet, modular_unet, primus
from autoseg.parts.networks._transformer import Attention, turned
from autoseg.pipeline.explain import EXPLANATIONS

NOISE = 0.05  # of the largest value, of a map that samples
ACTIVATIONS = {
    "relu": functional.relu,
    "leaky_relu in place": lambda maps: functional.leaky_relu(maps, 0.01, inplace=True),
    "gelu": functional.gelu,
    "a module": nn.SiLU(),
}


def planted(dimensions: int, activation: Any = functional.relu) -> tuple[Scene, np.ndarray]:
    """A bright block of evidence, a dark one that means nothing, and where the evidence lies, bool."""
    shape = (EDGE,) * dimensions
    patch, region, evidence = torch.zeros(1, 1, *shape), torch.zeros(shape, dtype=torch.bool), np.zeros(shape, bool)
    rows = (slice(8, 12),) * (dimensions - 1)
    patch[(0, 0, *rows, slice(20, 24))] = 4.0
    evidence[(*rows, slice(20, 24))] = True
    patch[(0, 0, *(slice(20, 28),) * (dimensions - 1), slice(2, 8))] = -4.0
    region[(*rows, slice(20 - SHIFT, 24 - SHIFT))] = True
    return Scene(Planted(dimensions, activation).eval(), patch, region, 1, (1.0,) * dimensions), evidence


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("part", [grad_cam.Spec(), guided_backpropagation.Spec(), occlusion.Spec(), lime.Spec()])
def test_a_map_lights_up_where_the_evidence_was_planted_and_nowhere_else(part: Explanation, dimensions: int) -> None:
    scene, evidence = planted(dimensions)
    seen = list[int]()
    found = part.explain(scene, seen.append).numpy()
    assert found.shape == evidence.shape and found.dtype == np.float32 and np.isfinite(found).all()
    assert sum(seen) == part.passes(scene)
    positive = np.where(found < NOISE * found.max(), 0, found)
    assert evidence.flat[found.argmax()] and positive[around(evidence)].sum() > 0.99 * positive.sum()
    assert positive[scene.region.numpy()].max() == 0


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("part", [grad_cam.Spec(), guided_backpropagation.Spec()])
def test_it_does_so_whatever_the_activation(part: Explanation, activation: str) -> None:
    scene, evidence = planted(2, ACTIVATIONS[activation])
    found = part.explain(scene, lambda count: None).numpy()
    assert evidence.flat[found.argmax()]
    assert found[around(evidence)].sum() > 0.9 * found.sum() > 0


def test_grad_cam_is_what_its_formula_says() -> None:
    """All 16 voxels of the region have the logit of one coarse place, of 8 x 8, whose gradient therefore is 1."""
    scene, _ = planted(2)
    maps = scene.network.down(scene.patch)[:, :1]  # type: ignore[operator]
    expected = functional.interpolate((maps / 64).relu(), (EDGE, EDGE), mode="bilinear", align_corners=False)
    found = grad_cam.Spec().explain(scene, lambda count: None)
    torch.testing.assert_close(found, expected[0, 0])
    assert found.max() > 0


class WithBranches(nn.Module):
    """Two scales of logits, and a branch at the coarse one that teaches only, computed last."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.down, self.deep = nn.Conv2d(1, 4, 2, stride=2), nn.Conv2d(4, 4, 3, padding=1)
        self.up, self.fine, self.coarse = nn.ConvTranspose2d(4, 4, 2, 2), nn.Conv2d(4, 3, 1), nn.Conv2d(4, 3, 1)
        self.teaches = nn.Conv2d(4, 4, 1)

    def forward(self, patches: Tensor) -> list[Tensor]:
        deep = self.deep(self.down(patches).relu()).relu()
        fine = self.fine(self.up(deep))
        self.taught = self.teaches(deep)
        return [fine, self.coarse(deep)]


def test_grad_cam_looks_at_what_leads_to_the_score_and_is_no_logit() -> None:
    torch.manual_seed(1)
    network = WithBranches().eval()
    region = torch.zeros(16, 16, dtype=torch.bool)
    region[4:9, 5:12] = True
    scene = Scene(network, torch.randn(1, 1, 16, 16), region, 2, (1.0, 1.0))
    deep = network.deep(network.down(scene.patch).relu())
    for stage, last, rest in ((-1, deep, lambda maps: network.up(maps.relu())), (0, network.up(deep.relu()), None)):
        maps = last.detach().requires_grad_()
        score = network.fine(maps if rest is None else rest(maps))[:, 2][:, region].mean()
        (gradient,) = torch.autograd.grad(score, maps)
        expected = (gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()
        expected = functional.interpolate(expected, (16, 16), mode="bilinear", align_corners=False)[0, 0].detach()
        torch.testing.assert_close(grad_cam.Spec(stage=stage).explain(scene, lambda count: None), expected)


def test_a_resolution_that_is_not_there_is_refused() -> None:
    scene, _ = planted(2)
    with pytest.raises(UsageError, match="the network has 2 resolutions"):
        grad_cam.Spec(stage=7).explain(scene, lambda count: None)


class Plain(nn.Module):
    """ReLU modules, as captum knows them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act = nn.Conv2d(2, 6, 3, padding=1), nn.ReLU()
        self.second, self.also = nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()
        self.last = nn.Conv2d(6, 3, 1)

    def forward(self, patches: Tensor) -> Tensor:
        return self.last(self.also(self.second(self.act(self.first(patches)))))  # type: ignore[no-any-return]


def plain_scene() -> Scene:
    torch.manual_seed(1)
    region = torch.zeros(16, 16, dtype=torch.bool)
    region[4:9, 5:12] = True
    return Scene(Plain().eval(), torch.randn(1, 2, 16, 16), region, 2, (1.0, 1.0))


@pytest.mark.filterwarnings("ignore")  # captum's own
def test_occlusion_is_captums() -> None:
    attr = pytest.importorskip("captum.attr")
    scene = plain_scene()
    theirs = attr.Occlusion(scene.score).attribute(scene.patch, (2, 4, 4), strides=(2, 4, 4))
    ours = occlusion.Spec(blocks=4).explain(scene, lambda count: None)
    torch.testing.assert_close(ours, theirs[0, 0].float(), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # captum's own
def test_guided_backpropagation_is_captums() -> None:
    attr = pytest.importorskip("captum.attr")
    scene = plain_scene()
    ours = guided_backpropagation.Spec().explain(scene, lambda count: None)

    class Scored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = scene.network

        def forward(self, patches: Tensor) -> Tensor:
            return self.network(patches)[:, scene.head][:, scene.region].mean(1)  # type: ignore[no-any-return]

    theirs = attr.GuidedBackprop(Scored()).attribute(scene.patch.clone().requires_grad_())
    torch.testing.assert_close(ours, theirs[0].abs().amax(0).float(), rtol=1e-4, atol=1e-6)


def test_hidden_supervoxels_add_up() -> None:
    """Of a score that is a sum over voxels, a supervoxel's weight is its own sum, up to the ridge."""

    class Sum(nn.Module):
        def forward(self, patches: Tensor) -> Tensor:
            total = patches.sum((1, 2, 3), keepdim=True)
            return total.expand(-1, 2, *patches.shape[2:])

    torch.manual_seed(0)
    patch = torch.zeros(1, 1, 16, 16)
    patch[..., :8, :8], patch[..., 8:, 8:] = 1.0, -2.0
    scene = Scene(Sum(), patch, torch.ones(16, 16, dtype=torch.bool), 1, (1.0, 1.0))
    found = lime.Spec(supervoxels=4, samples=400).explain(scene, lambda count: None)
    assert found[:7, :7].mean() == pytest.approx(64, rel=0.1) and found[9:, 9:].mean() == pytest.approx(-128, rel=0.1)
    assert found[1:7, 9:].abs().max() < 8


@pytest.mark.parametrize("gate", ["spatial", "mixed"])
def test_attention_is_what_the_gates_let_through(gate: str) -> None:
    torch.manual_seed(0)
    spec = modular_unet.Spec((4, 8), ((3, 3), (3, 3)), ((1, 1), (2, 2)), (1, 1), (1,), attention=gate)
    network = spec.build(InputSpec.of_image(1), 2).eval()
    scene = Scene(network, torch.randn(1, 1, 16, 16), torch.ones(16, 16, dtype=torch.bool), 1, (1.0, 1.0))
    found = attention.Spec().explain(scene, lambda count: None)
    assert found.shape == (16, 16) and 0 < found.min() < found.max() < 1


@pytest.mark.parametrize("dimensions", [2, 3])
def test_self_attention_is_how_much_the_region_sees_of_each_place(dimensions: int) -> None:
    """Against the weights of every layer, made from what it is given."""
    torch.manual_seed(0)
    patch = (1, 1, *(16,) * dimensions)
    spec = primus.Spec.ladder((1.0,) * dimensions, patch[2:])[0]
    network = spec.build(InputSpec.of_image(1), 2).eval()
    given: list[tuple[Attention, Tensor, Tensor]] = []
    for module in network.modules():
        if isinstance(module, Attention):
            module.seen.weight.data *= 30  # so that weights are not all alike
            module.register_forward_pre_hook(lambda module, seen: given.append((module, *seen)))
    region = torch.zeros(patch[2:], dtype=torch.bool)
    region[(slice(0, 3),) * dimensions] = True
    scene = Scene(network, torch.randn(patch), region, 1, (1.0,) * dimensions)
    found = self_attention.Spec().explain(scene, lambda count: None)
    tokens = [edge // step for edge, step in zip(patch[2:], spec.divisor)]
    inside = torch.zeros(tokens, dtype=torch.bool)
    inside[(slice(0, -(-3 // spec.divisor[0])),) * dimensions] = True
    expected = torch.zeros(inside.numel())
    with torch.inference_mode():
        for module, seen, turns in given:
            query, key, _ = module.seen(seen).unflatten(-1, (3, module.heads, -1)).permute(2, 0, 3, 1, 4)
            scores = torch.einsum("bhqd,bhkd->bhqk", turned(query, turns), turned(key, turns))
            weights = torch.softmax(scores / query.shape[-1] ** 0.5, -1)[0]
            expected += weights[:, inside.flatten()].mean((0, 1)) * inside.numel() / len(given)
    assert len(given) == spec.layers and expected.std() > 0.01
    shown = functional.interpolate(
        expected.reshape(1, 1, *tokens), patch[2:], mode=("bilinear", "trilinear")[dimensions - 2], align_corners=False
    )
    torch.testing.assert_close(found, shown[0, 0], rtol=1e-3, atol=1e-4)


def test_a_network_without_a_transformer_says_which_have_one() -> None:
    scene, _ = planted(2)
    with pytest.raises(UsageError, match=r"no transformer.*primus and transunet"):
        self_attention.Spec().explain(scene, lambda count: None)


def test_a_network_without_gates_says_which_have_them() -> None:
    scene, _ = planted(2)
    with pytest.raises(UsageError, match=r"no gates.*attention=spatial"):
        attention.Spec().explain(scene, lambda count: None)


def test_monais_gates_are_seen() -> None:
    pytest.importorskip("monai")
    torch.manual_seed(0)
    spec = next(iter(attention_unet.Spec.ladder((1.0, 1.0), (32, 32))))
    network = spec.build(InputSpec.of_image(1), 2).eval()
    scene = Scene(network, torch.randn(1, 1, 32, 32), torch.ones(32, 32, dtype=torch.bool), 1, (1.0, 1.0))
    assert 0 < attention.Spec().explain(scene, lambda count: None).max() < 1


def test_every_explanation_keeps_the_contract() -> None:
    for name in EXPLANATIONS:
        part = EXPLANATIONS.load(name)()
        assert isinstance(part, Explanation) and part.unit


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: occlusion.Spec(blocks=1), "blocks"),
        (lambda: occlusion.Spec(blocks=10**9), "blocks"),
        (lambda: lime.Spec(samples=1), "samples"),
        (lambda: lime.Spec(supervoxels=10**9), "supervoxels"),
        (lambda: grad_cam.Spec(stage=99), "stage"),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_blocks_are_as_long_in_mm_along_every_axis() -> None:
    scene, _ = planted(3)
    flat = Scene(scene.network, scene.patch[:, :, :8], scene.region[:8], 1, (4.0, 1.0, 1.0))
    assert occlusion.Spec(blocks=8).passes(flat) == 1 + 8 * 8 * 8
