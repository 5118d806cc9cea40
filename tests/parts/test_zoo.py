"""Networks built of MONAI's: what they compute is what MONAI's own compute, and their fields have limits.

That they keep the contract is tested with all others in ``test_every_network``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import distributed, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Normal, kl_divergence
from torch.nn.modules.batchnorm import _NormBase

from autoseg.bundle.manifest import Manifest
from autoseg.bundle.write import write_bundle
from autoseg.cli import main
from autoseg.configuration import NETWORKS
from autoseg.core.inputs import InputSpec
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.samples import Samples
from autoseg.errors import MissingPackageError, RecordError, UsageError
from autoseg.inference.memory import working_bytes
from autoseg.inference.sliding_window import patches_at_once
from autoseg.parts.losses import dice_ce
from autoseg.parts.networks import (
    ahnet,
    attention_unet,
    dints,
    dynunet,
    highresnet,
    mednext,
    plain_unet,
    segresnet,
    segresnet_vae,
    swin_unetr,
    unet_plus_plus,
    unetr,
    vnet,
)
from autoseg.parts.networks._monai import SmallMapsConv3d
from autoseg.parts.networks._zoo import ZooSpec, halvings
from autoseg.parts.objectives import vae
from autoseg.plan import Plan
from autoseg.planning.rungs import chosen
from autoseg.settings import Resolved, computes
from autoseg.training.accounting import _Ledger
from autoseg.training.deep_supervision import DeepSupervision
from autoseg.training.process_group import ProcessGroup

ZOO = [name for name in NETWORKS if issubclass(NETWORKS.load(name), ZooSpec)]
ONE = InputSpec.of_image(1)
AFFINE = ("instance", {"affine": True})
needs_monai = pytest.mark.skipif(find_spec("monai") is None, reason="monai is not installed")


def built(spec: Any, channels: int = 1, heads: int = 3) -> Any:
    torch.manual_seed(0)
    return spec.build(InputSpec.of_image(channels), heads).eval()


def copied(target: nn.Module, source: nn.Module) -> None:
    target.load_state_dict(source.state_dict(), strict=False)


@pytest.mark.parametrize("name", ZOO)
def test_without_the_packages_it_is_said_how_to_install_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoseg.parts.networks._zoo.find_spec", lambda name: None)
    kind = NETWORKS.load(name)
    with pytest.raises(UsageError, match=rf'--network {name}: .*monai.* not installed: pip install "autoseg\[zoo\]"'):
        chosen(name, kind, ("MR",), None)
    with pytest.raises(MissingPackageError, match="monai"):
        kind().build(ONE, 2)


@needs_monai
def test_a_monai_that_lacks_the_network_is_to_be_upgraded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets.segresnet", None)
    with pytest.raises(MissingPackageError, match=r'cannot be imported .*pip install --upgrade "autoseg\[zoo\]"'):
        segresnet.Spec().build(ONE, 2)


@pytest.mark.slow
@needs_monai
def test_a_model_without_its_packages_says_how_to_install_them(
    small_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, before = small_plan.configuration()
    network = segresnet.Spec(3, 8, (1, 1), (1,))
    plan = replace(small_plan, configurations={name: replace(before, network=network)})
    weights = plan.task().network().state_dict()
    bundle = str(tmp_path / "model.zip")
    write_bundle(
        tmp_path / "model.zip", Manifest("Any", {name: ("0",)}, {name: 1.0}), plan, {name: {"0": save(weights)}}
    )
    monkeypatch.setattr("autoseg.parts.networks._zoo.find_spec", lambda name: None)
    at = ["--workspace", str(tmp_path / "workspace")]
    for words in (
        ["info", bundle],
        ["install", bundle],
        ["predict", "-m", bundle, "-i", bundle, "-o", str(tmp_path / "out")],
    ):
        capsys.readouterr()
        assert main([*words, *at]) == 2
        said = capsys.readouterr().err
        assert 'monai is not installed: pip install "autoseg[zoo]"' in said and "Traceback" not in said
        assert len(said) < 1000


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (segresnet, {"dimensions": 4}, "dimensions must be at most 3"),
        (segresnet, {"width": 12}, "width must be a multiple of 8"),
        (segresnet, {"width": 1 << 20}, "width must be at most"),
        (segresnet, {"blocks_down": (1, 2)}, "blocks_up must have one entry fewer"),
        (segresnet, {"blocks_down": (10**9, 1, 1, 1)}, "blocks_down must be at most 100"),
        (segresnet_vae, {"patch_size": (16, 16, 20)}, "patch_size must be a multiple of"),
        (segresnet_vae, {"patch_size": (1 << 30,) * 3}, "patch_size asks for more than 2e[+]09 voxels"),
        (segresnet_vae, {"latent": 1 << 30}, "latent must be at most"),
        (unet_plus_plus, {"features": (4, 8)}, "there must be|must have 5 entries"),
        (vnet, {"width": 0}, "width must be at least"),
        (vnet, {"dropout": 1.0}, "dropout must be below 1"),
        (attention_unet, {"strides": ((1, 1), (2, 2), (2, 2), (2, 2))}, "strides need 3 entries"),
        (attention_unet, {"features": (4, 8)}, "strides must have 2 entries"),
        (highresnet, {"repeats": 101}, "repeats must be at most 100"),
        (mednext, {"kernel": 4}, "kernel must be odd"),
        (mednext, {"expansion": (2, 2)}, "expansion must have 5 entries"),
        (dynunet, {"features": (4, 8)}, "there must be 3 to 12 stages"),
        (dynunet, {"kernels": ((2, 3, 3),) * 3}, "kernels must be odd"),
        (unetr, {"hidden": 100}, "hidden must be a multiple of attention_heads"),
        (unetr, {"grid": (1 << 10,) * 3}, "grid must be 3 numbers of at most"),
        (swin_unetr, {"width": 20}, "width must be a multiple of 12"),
        (swin_unetr, {"depths": (2, 2)}, "depths must have 4 entries"),
        (ahnet, {"dimensions": 2}, "dimensions must be at least 3"),
        (ahnet, {"pools": 5}, "pools must be at most 4"),
        (dints, {"cells": ("conv_zz",)}, "cells must be some of skip, conv"),
        (dints, {"cells": ("conv",) * 99}, "1 to 24 blocks"),
    ],
)
def test_impossible_fields_are_refused(kind: Any, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        kind.Spec(**fields)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (swin_unetr, {"window": 32}),
        (segresnet_vae, {"patch_size": (1024,) * 3, "latent": 4096}),
        (dints, {"width": 1024}),
        (attention_unet, {"features": (4096,) * 9, "strides": ((1,) * 3, *((2,) * 3,) * 8)}),
        (dynunet, {"features": (4096,) * 3, "kernels": ((15,) * 3,) * 3}),
    ],
)
def test_more_weights_than_anybody_has_are_refused_before_they_are_made(kind: Any, fields: dict[str, Any]) -> None:
    """Each field is within its limits; together they would take 30 GB or more."""
    with pytest.raises(RecordError, match=r"^network: .* ask for \S+ weights, more than 4e[+]09"):
        kind.Spec(**fields).build(ONE, 2)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (attention_unet, {"strides": ((1,) * 99999,) * 4}),
        (dints, {"cells": ("conv" * 99999,)}),
        (segresnet_vae, {"patch_size": (8,) * 99999}),
    ],
)
def test_what_is_said_of_fields_is_short(kind: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as said:
        kind.Spec(**fields)
    assert len(str(said.value)) < 400


@pytest.mark.parametrize(
    ("patch", "most", "count"),
    [((128, 128, 128), 4, 4), ((16, 16), 4, 2), ((12, 256, 256), 4, 4), ((4, 256, 256), 5, 3), ((1, 64, 64), 3, 1)],
)
def test_a_patch_is_halved_while_it_is_long_and_no_axis_is_more_than_doubled(
    patch: tuple[int, ...], most: int, count: int
) -> None:
    assert halvings(patch, most) == count


@pytest.mark.parametrize(
    ("name", "patch", "said"),
    [
        ("segresnet", (7, 7, 7), "two stages"),
        ("segresnet_vae", (10, 10), "axis of 16 voxels"),
        ("dynunet", (8, 8), "three stages"),
        ("unet_plus_plus", (16, 16), "patch of 32 voxels along one axis"),
        ("unetr", (16, 16, 16), "tokens are 16 voxels long"),
        ("swin_unetr", (32, 32, 32), "patch of 64 voxels along one axis"),
        ("swin_unetr", (8, 128, 128), "of 16 along all"),
        ("ahnet", (128, 128), "volumes only"),
        ("highresnet", (4, 4), "kernels are 9 voxels wide"),
        ("dints", (8, 8), "halves the patch three times"),
    ],
)
def test_a_patch_that_is_too_small_is_refused_with_the_reason(name: str, patch: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NETWORKS.load(name).ladder((1.0,) * len(patch), patch)


@pytest.mark.parametrize("name", ZOO)
def test_no_network_normalises_over_a_batch(name: str) -> None:
    """So a batch may be computed in parts."""
    with torch.device("meta"):
        network = NETWORKS.load(name)().build(ONE, 2)
    assert not [module for module in network.modules() if isinstance(module, _NormBase)]
    assert not [module for module in network.modules() if type(module) is nn.Conv3d]


@pytest.mark.skipif(not computes(torch.bfloat16), reason="this processor does not compute in bfloat16")
def test_small_maps_have_finite_gradients_in_half_precision() -> None:
    """Of kernels of one voxel along the last axis, torch 2.13 gives NaN for most batches of such maps."""
    layer = SmallMapsConv3d(20, 20, (3, 3, 1), padding=(1, 1, 0))
    for seed in range(8):
        torch.manual_seed(seed)
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            maps = layer(torch.randn(1, 20, 2, 8, 8))
        maps.float().square().mean().backward()
        assert layer.weight.grad is not None and torch.isfinite(layer.weight.grad).all()


@pytest.mark.parametrize(("size", "millions"), enumerate((5.6, 10.5, 17.6, 61.8)))
def test_mednext_has_as_many_weights_as_in_the_paper(size: int, millions: float) -> None:
    """Table 1 of Roy et al. 2023, kernels of 3, volumes."""
    with torch.device("meta"):
        network = mednext.Spec.ladder((1.0,) * 3, (128,) * 3)[size].build(ONE, 14)
    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.02)


def test_upkern_enlarges_kernels_and_copies_all_else() -> None:
    from autoseg.parts.networks._mednext import upkern

    small, large = (built(mednext.Spec(2, 4, (1, 1), (2, 2), kernel)) for kernel in (3, 5))
    kernel = torch.tensor([1.0, 2.0, 6.0])
    weights = {name: value.clone() for name, value in small.state_dict().items()}
    first = next(name for name, value in weights.items() if value.shape[2:] == (3, 3))
    weights[first][:] = kernel[:, None] * torch.ones(3)
    found = upkern(weights, large)
    large.load_state_dict(found)
    wanted = torch.tensor([1.0, 0.6 + 0.8, 2.0, 0.8 + 3.6, 6.0])  # of voxels 0.6 as long, linearly
    torch.testing.assert_close(found[first][0, 0], wanted[:, None] * torch.ones(5))
    same = [name for name, value in weights.items() if value.shape == large.state_dict()[name].shape]
    assert len(same) > 20 and all(torch.equal(found[name], weights[name]) for name in same)
    with pytest.raises(ValueError, match="another network"):
        upkern(weights, built(plain_unet.Spec((4, 8), ((3, 3),) * 2, ((1, 1), (2, 2)), (1, 1), (1,))))


@needs_monai
def test_mednext_is_monais() -> None:
    from monai.networks.nets.mednext import MedNeXt

    ours, images = built(mednext.Spec(3, 4, (1, 2, 1), (2, 3, 4), 5)).train(), torch.randn(2, 1, 8, 16, 8)
    reference = MedNeXt(
        3, 4, 1, 3, (2, 3), (3, 2), 4, 5, True, True, blocks_down=(1, 2), blocks_bottleneck=1, blocks_up=(2, 1)
    )
    pairs = {"stem": "stem", "enc_stages": "encoder", "down_blocks": "down", "bottleneck": "bottleneck"}
    pairs |= {"up_blocks": "up", "dec_stages": "decoder"}
    for theirs, own in pairs.items():
        copied(getattr(reference, theirs), getattr(ours.network, own))
    for layer, head in zip((reference.out_0, *reference.out_blocks[::-1]), ours.heads):
        layer.conv_out.weight.data, layer.conv_out.bias.data = head.weight.data.transpose(0, 1), head.bias.data
    for found, wanted in zip(ours(images), reference(images), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@needs_monai
def test_dynunet_is_monais() -> None:
    from monai.networks.nets.dynunet import DynUNet

    spec = dynunet.Spec(3, (4, 6, 8), ((1, 3, 3), (3, 3, 3), (3, 3, 3)), ((1, 1, 1), (1, 2, 2), (2, 2, 2)), True)
    ours, images = built(spec), torch.randn(1, 1, 4, 16, 8)
    strides = spec.strides
    reference = DynUNet(3, 1, 3, spec.kernels, strides, strides[1:], spec.features, norm_name=AFFINE, res_block=True)
    down = (reference.input_block, *reference.downsamples, reference.bottleneck)
    for theirs, own in zip((*down, *reference.upsamples), (*ours.network.down, *ours.network.up), strict=True):
        copied(theirs, own)
    copied(reference.output_block.conv.conv, ours.last)
    torch.testing.assert_close(ours(images)[0], reference(images), rtol=1e-4, atol=1e-5)


@needs_monai
def test_unetr_is_monais_and_takes_patches_of_other_sizes() -> None:
    from monai.networks.nets.unetr import UNETR

    ours, images = built(unetr.Spec(2, 4, 12, 3, (2, 3))), torch.randn(2, 1, 32, 48)
    reference = UNETR(1, 3, (32, 48), 4, 12, 48, 3, norm_name=AFFINE, spatial_dims=2)
    for name, own in {"patch_embedding": "tokens", "blocks": "layers", "norm": "norm"}.items():
        copied(getattr(reference.vit, name), getattr(ours.network, own))
    for number in range(4):
        copied(getattr(reference, f"encoder{number + 1}"), ours.network.encoders[number])
        copied(getattr(reference, f"decoder{5 - number}"), ours.network.decoders[number])
    copied(reference.out.conv.conv, ours.last)
    torch.testing.assert_close(ours(images)[0], reference(images), rtol=1e-4, atol=1e-5)
    assert ours(torch.randn(1, 1, 64, 32))[0].shape == (1, 3, 64, 32)


def test_vnet_adds_channels_of_zeros_until_they_divide_its_feature_maps() -> None:
    spec = vnet.Spec(2, 8, (1, 1))
    assert [spec.padded(channels) for channels in (1, 2, 3, 5, 8)] == [1, 2, 4, 8, 8]
    network, images = built(spec, 3), torch.randn(1, 3, 8, 8)
    first = network.network.first.register_forward_hook(lambda module, given, found: taken.append(given[0]))
    taken: list[torch.Tensor] = []
    network(images)
    first.remove()
    assert torch.equal(taken[0], torch.cat((images, torch.zeros(1, 1, 8, 8)), 1))
    with pytest.raises(ValueError, match="9 channels cannot be added"):
        spec.check_inputs(InputSpec.of_image(9))


def test_every_decoder_of_unet_plus_plus_learns() -> None:
    """The loss reaches the shallowest, too, though the last scale of a list has no weight."""
    network, images = built(unet_plus_plus.Spec(2, (4,) * 5)), torch.randn(1, 1, 32, 16)
    scales = network(images)
    assert [scale.shape[2:] for scale in scales] == [(32, 16)] * 5 and torch.equal(scales[-1], scales[-2])
    finest, *_ = (head(maps) for head, maps in zip(network.heads, network.network(images)[::-1]))
    torch.testing.assert_close(scales[0], finest)
    target = torch.zeros(1, 32, 16, dtype=torch.uint8)
    loss = dice_ce.Spec(batch_dice=False).build(ExclusiveLabels({"background": 0, "a": 1, "b": 2}))
    supervision = DeepSupervision.of(loss)
    supervision.judge(supervision.measure(scales, Samples(images, target, ("a",), (1.0, 1.0), ONE))).backward()
    assert all(head.weight.grad is not None and head.weight.grad.any() for head in network.heads)


def test_the_autoencoder_is_measured_in_training_only_and_as_the_formula_says() -> None:
    network = built(segresnet_vae.Spec(2, 8, (1, 1), (1,), (16, 16), latent=5))
    images = torch.randn(2, 1, 16, 16)
    vae.Spec().build(None, None, network, ONE)  # type: ignore[arg-type]
    network(images)
    assert network.rebuilt is None
    network.train()(images)
    seen: dict[str, torch.Tensor] = {}
    for name in ("vae_fc1", "vae_fc2", "vae_conv_final"):
        module = network.network.get_submodule(name)
        module.register_forward_hook(lambda module, given, found, name=name: seen.update({name: found}))
    network(images)
    error, divergence = network.rebuilt.unbind(1)
    torch.testing.assert_close(error, (seen["vae_conv_final"] - images).square().mean((1, 2, 3)))
    found = Normal(seen["vae_fc1"], nn.functional.softplus(seen["vae_fc2"]))
    torch.testing.assert_close(divergence, 2 * kl_divergence(found, Normal(0.0, 1.0)).sum(1) / 256)
    with pytest.raises(UsageError, match="rebuilds patches of"):
        network(torch.randn(1, 1, 16, 32))
    with pytest.raises(UsageError, match="--network segresnet_vae"):
        vae.Spec().build(None, None, nn.Identity(), ONE)  # type: ignore[arg-type]


def test_several_processes_find_the_weights_that_rebuild_the_image(tmp_path: Path) -> None:
    """One process that prepares for others: torch finds weights that learn by what the network returns."""
    network = built(segresnet_vae.Spec(2, 8, (1, 1), (1,), (16, 16), latent=5)).train()
    vae.Spec().build(None, None, network, ONE)  # type: ignore[arg-type]
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'met'}", rank=0, world_size=1)
    try:
        shared = ProcessGroup(0, 2).data_parallel(network)
        (logits,) = shared(torch.randn(2, 1, 16, 16))
        (logits.sum() + network.rebuilt.sum()).backward()
    finally:
        distributed.destroy_process_group()
    assert all(weight.grad.any() for weight in network.network.vae_fc1.parameters())


SIZES = {2: (256, 256), 3: (32, 64, 64)}
PREDICTED = [(name, axes) for name in ZOO for axes in SIZES if (name, axes) != ("ahnet", 2)]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize(("name", "dimensions"), PREDICTED)
def test_prediction_holds_no_more_than_is_counted(name: str, dimensions: int, dtype: Any, small_plan: Any) -> None:
    """On tensors that have a shape and no data."""
    patch = SIZES[dimensions]
    network = NETWORKS.load(name).ladder((1.0,) * dimensions, patch)[0]
    run, ledger = Resolved(torch.device("cpu"), dtype), _Ledger(None)
    with FakeTensorMode(allow_non_fake_inputs=True), ledger:
        made = network.build(ONE, 3).eval()
        images = torch.empty(patches_at_once(prod(patch), 3, run), 1, *patch)
        before = ledger.now
        with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype is not None):
            made(images)
    configuration = replace(small_plan.configuration()[1], patch_size=patch, network=network)
    counted = working_bytes(configuration, 3, run)
    assert 0.1 * counted < ledger.peak - before < counted, f"{(ledger.peak - before) / counted:.2f}"
