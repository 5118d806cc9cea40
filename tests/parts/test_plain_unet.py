"""Laws of the plain U-Net."""

import dataclasses

import pytest
import torch

from autoseg.parts.networks.plain_unet import Spec

ANISOTROPIC = Spec(
    features=(4, 8, 8),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    blocks_encoder=(2, 1, 2),
    blocks_decoder=(1, 2),
)
FLAT = Spec((4, 6), ((3, 3), (3, 3)), ((1, 1), (2, 2)), (2, 2), (2,))


def test_all_scales_come_out_finest_first():
    logits = ANISOTROPIC.build(2, 3)(torch.randn(2, 2, 4, 16, 12))
    assert [tuple(scale.shape) for scale in logits] == [(2, 3, 4, 16, 12), (2, 3, 4, 8, 6)]
    assert [tuple(scale.shape) for scale in FLAT.build(1, 2)(torch.randn(3, 1, 8, 6))] == [(3, 2, 8, 6)]


def test_divisor_is_the_product_of_the_strides():
    assert ANISOTROPIC.divisor == (2, 4, 4)


def test_every_weight_has_a_gradient():
    network = ANISOTROPIC.build(1, 2)
    sum(scale.square().mean() for scale in network(torch.randn(1, 1, 4, 8, 8))).backward()
    # A bias ahead of an instance norm has a gradient of nothing but rounding, yet it has one.
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_prediction_equals_the_training_pass():
    torch.manual_seed(0)
    for spec, images in ((ANISOTROPIC, torch.randn(1, 1, 4, 8, 8)), (FLAT, torch.randn(2, 1, 8, 8))):
        network = spec.build(1, 2)
        expected = network(images)[0]
        with torch.inference_mode():
            assert torch.allclose(network(images)[0], expected, atol=1e-5)


def test_blocks_normalise_every_channel_of_every_patch():
    torch.manual_seed(0)
    block = FLAT.build(1, 2).encoder[0][0]
    maps = block.norm(block.convolution(torch.randn(2, 1, 16, 16) * 7 + 3))
    assert torch.allclose(maps.mean((2, 3)), torch.zeros(2, 4), atol=1e-4)
    assert torch.allclose(maps.std((2, 3), correction=0), torch.ones(2, 4), atol=1e-3)


def test_parameters_count_as_in_nnunet():
    # PlainConvUNet of dynamic_network_architectures 0.4.4 with this topology, norm and deep supervision, counted there.
    spec = Spec((32, 64, 128), ((3, 3, 3),) * 3, ((1, 1, 1), (2, 2, 2), (2, 2, 2)), (2, 2, 2), (2, 2))
    assert sum(weight.numel() for weight in spec.build(1, 3).parameters()) == 1356902


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
def test_an_impossible_topology_is_refused(change):
    with pytest.raises(ValueError):
        dataclasses.replace(ANISOTROPIC, **change)
