"""Laws of the U-Nets, and equality with nnU-Net's."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from operations import Operations
from torch import Tensor, nn

from autoseg.configuration import NETWORKS
from autoseg.core.inputs import InputSpec
from autoseg.parts.networks import plain_unet, residual_unet
from autoseg.parts.networks._residual_unet import AveragePool, block_means
from autoseg.planning.memory import feature_map_elements

BOTH = pytest.mark.parametrize("part", [plain_unet.Spec, residual_unet.Spec], ids=["plain", "residual"])

# made by benchmarks/oracle_networks.py with PlainConvUNet and ResidualEncoderUNet of dynamic_network_architectures 0.4
STORED = json.loads(Path(__file__).with_name("nnunet_networks.json").read_text())
NNUNETS = pytest.mark.parametrize(
    "theirs", STORED["networks"], ids=lambda one: f"{one['network']}-{len(one['shape']['patch'])}d"
)


def anisotropic(part: Any) -> Any:
    return part(
        features=(4, 8, 8),
        kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        blocks_encoder=(2, 1, 2),
        blocks_decoder=(1, 2),
    )


def flat(part: Any) -> Any:
    return part((4, 6), ((3, 3), (3, 3)), ((1, 1), (2, 2)), (2, 2), (2,))


def wave(shape: tuple[int, ...], phase: float) -> Tensor:
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) * 0.7 + phase).reshape(shape)


def fill(network: nn.Module) -> None:
    """The weights that benchmarks/oracle_networks.py gave to nnU-Net's network."""
    for name, weight in network.named_parameters():
        if weight.dim() > 1:
            weight.data = wave(tuple(weight.shape), 0.3) * math.sqrt(2 / math.prod(weight.shape[1:]))
        else:
            weight.data = wave(tuple(weight.shape), 1.1) * 0.1 + (1.0 if name.endswith("weight") else 0.0)


def spec_of(theirs: dict[str, Any]) -> Any:
    fields = {name: value for name, value in theirs["shape"].items() if name != "patch"}
    nested = {name: tuple(map(tuple, fields.pop(name))) for name in ("kernels", "strides")}
    return NETWORKS.load(theirs["network"])(**nested, **{name: tuple(value) for name, value in fields.items()})


@NNUNETS
def test_every_scale_equals_nnunets(theirs: dict[str, Any]) -> None:
    network = spec_of(theirs).build(InputSpec.of_image(STORED["channels"]), STORED["heads"])
    fill(network)
    logits = network(wave((1, STORED["channels"], *theirs["shape"]["patch"]), 0.0))
    assert [list(scale.shape) for scale in logits] == theirs["shapes"]
    for scale, values in zip(logits, theirs["values"]):
        assert scale.flatten()[:: max(1, scale.numel() // 20)].tolist() == pytest.approx(values, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("size", "block"), [((4, 6, 8), (2, 2, 2)), ((5, 7, 9), (2, 3, 2)), ((3, 5, 4), (1, 2, 2))])
def test_means_over_blocks_are_average_pooling(size: tuple[int, ...], block: tuple[int, ...]) -> None:
    maps = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        given = maps.contiguous(memory_format=layout)
        expected, found = nn.AvgPool3d(block, block)(given), block_means(given, block)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(*(torch.autograd.grad(each.square().sum(), maps)[0] for each in (found, expected)))


@NNUNETS
def test_with_means_over_blocks_every_scale_equals_nnunets(
    theirs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU."""
    monkeypatch.setattr(AveragePool, "forward", lambda pool, maps: block_means(maps, pool.block))
    test_every_scale_equals_nnunets(theirs)


@BOTH
@pytest.mark.parametrize("shape", [anisotropic, flat])
def test_training_uses_nothing_that_is_not_deterministic_on_a_gpu(part: Any, shape: Any) -> None:
    """On a device that is no processor, the networks take the way that they take on a GPU."""
    with torch.device("meta"), Operations() as ran:
        network = shape(part).build(InputSpec.of_image(1), 3)
        size = (8, 16, 16)[-network.heads[0].weight.dim() + 2 :]
        sum(scale.float().square().mean() for scale in network(torch.empty(2, 1, *size))).backward()
    assert {"convolution", "convolution_backward", "leaky_relu_backward"} <= ran.names
    assert ran.not_deterministic == set()


@NNUNETS
def test_parameters_count_as_in_nnunet(theirs: dict[str, Any]) -> None:
    network = spec_of(theirs).build(InputSpec.of_image(STORED["channels"]), STORED["heads"])
    assert sum(weight.numel() for weight in network.parameters()) == theirs["parameters"]


@NNUNETS
def test_the_memory_estimate_equals_nnunets(theirs: dict[str, Any]) -> None:
    spec, patch = spec_of(theirs), theirs["shape"]["patch"]
    down = [spec.convolutions(blocks) for blocks in spec.blocks_encoder]
    found = feature_map_elements(
        patch, spec.strides, spec.features, down=down, up=spec.blocks_decoder, heads=STORED["heads"]
    )
    assert found == theirs["elements"]


@BOTH
def test_all_scales_come_out_finest_first(part: Any) -> None:
    logits = anisotropic(part).build(InputSpec.of_image(2), 3)(torch.randn(2, 2, 4, 16, 12))
    assert [tuple(scale.shape) for scale in logits] == [(2, 3, 4, 16, 12), (2, 3, 4, 8, 6)]
    assert [tuple(scale.shape) for scale in flat(part).build(InputSpec.of_image(1), 2)(torch.randn(3, 1, 8, 6))] == [
        (3, 2, 8, 6)
    ]


@BOTH
def test_divisor_is_the_product_of_the_strides(part: Any) -> None:
    assert anisotropic(part).divisor == (2, 4, 4)


@BOTH
def test_every_weight_has_a_gradient(part: Any) -> None:
    network = anisotropic(part).build(InputSpec.of_image(1), 2)
    sum(scale.square().mean() for scale in network(torch.randn(1, 1, 4, 8, 8))).backward()
    # A bias ahead of an instance norm has a gradient of nothing but rounding, yet it has one.
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


@BOTH
def test_prediction_equals_the_training_pass(part: Any) -> None:
    torch.manual_seed(0)
    for spec, images in ((anisotropic(part), torch.randn(1, 1, 4, 8, 8)), (flat(part), torch.randn(2, 1, 8, 8))):
        network = spec.build(InputSpec.of_image(1), 2)
        expected = network(images)[0]
        with torch.inference_mode():
            assert torch.allclose(network(images)[0], expected, atol=1e-5)


@BOTH
@pytest.mark.parametrize("together", [1, 1 << 20])
def test_logits_are_not_rounded_where_maps_are(part: Any, together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 has no number between 16 and 16.125."""
    monkeypatch.setattr("autoseg.parts.networks._unet.PIECE_BYTES", together)
    torch.manual_seed(0)
    network, images = anisotropic(part).build(InputSpec.of_image(1), 2), torch.randn(3, 1, 4, 8, 8)
    nn.init.constant_(network.heads[0].bias, 16.06)
    nn.init.normal_(network.heads[0].weight, std=1e-3)
    seen = {}
    network.decoder[0].register_forward_hook(lambda _, __, maps: seen.update(maps=maps))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images)[0]
    assert seen["maps"].dtype == torch.bfloat16 and logits.dtype == torch.float32
    expected = network.heads[0](seen["maps"].float())
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-6)
    assert len(logits.unique()) > 500 > 3 > len(logits.bfloat16().unique()) - 1
    wanted = (network.heads[0].weight, network.heads[0].bias, next(network.decoder[0].parameters()))
    found, precise = (torch.autograd.grad((each - 16).square().mean(), wanted, retain_graph=True)
                      for each in (logits, expected))  # fmt: skip
    for one, other in zip(found, precise):
        torch.testing.assert_close(one, other, rtol=2e-2, atol=1e-7)


def test_what_makes_logits_precise_is_not_kept_for_the_backward_pass() -> None:
    network, kept = anisotropic(plain_unet.Spec).build(InputSpec.of_image(1), 2), list[Tensor]()
    with (
        torch.autocast("cpu", torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each) or each, lambda each: each),
    ):
        logits = network(torch.randn(2, 1, 4, 8, 8))
    sum(scale.square().mean() for scale in logits).backward()
    assert {each.dtype for each in kept if each.numel() >= 2 * 4 * 4 * 8 * 8} == {torch.bfloat16}


def test_blocks_normalise_every_channel_of_every_patch() -> None:
    torch.manual_seed(0)
    block = flat(plain_unet.Spec).build(InputSpec.of_image(1), 2).encoder[0][0]
    maps = block.norm(block.convolution(torch.randn(2, 1, 16, 16) * 7 + 3))
    assert torch.allclose(maps.mean((2, 3)), torch.zeros(2, 4), atol=1e-4)
    assert torch.allclose(maps.std((2, 3), correction=0), torch.ones(2, 4), atol=1e-3)


def test_a_residual_block_starts_as_its_shortcut() -> None:
    torch.manual_seed(0)
    stem, first, second = flat(residual_unet.Spec).build(InputSpec.of_image(1), 2).encoder[0]
    maps = stem(torch.randn(1, 1, 8, 8))
    assert torch.allclose(second(first(maps)), nn.functional.leaky_relu(maps, 0.01**2))


@BOTH
@pytest.mark.parametrize(
    "change",
    [
        {"features": (4,)},
        {"kernels": ((3, 3, 3),) * 2},
        {"blocks_decoder": (1, 1, 1)},
        {"kernels": ((2, 3, 3), (3, 3, 3), (3, 3, 3))},
        {"strides": ((1, 1), (2, 2, 2), (2, 2, 2))},
        {"blocks_encoder": (0, 1, 1)},
    ],
)
def test_an_impossible_topology_is_refused(part: Any, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        dataclasses.replace(anisotropic(part), **change)
