"""Models that are made in milliseconds and whose probabilities differ: of one configuration, of two, of many labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from autoseg.bundle.manifest import Manifest
from autoseg.bundle.write import write_bundle
from autoseg.cli import main
from autoseg.core.geometry import Geometry, Image
from autoseg.core.inputs import InputSpec
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.parts.networks.plain_unet import Spec
from autoseg.parts.readers import write_channels
from autoseg.plan import Plan

GEOMETRY = Geometry.plain((9, 14, 11), (3.0, 1.5, 2.0))
EXCLUSIVE = ExclusiveLabels({"background": 4, "organ": 7, "lesion": 9})
REGIONS = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2))
MANY = 12  # more than the feature maps of ``network``
MANY_LABELS = ExclusiveLabels({"background": 0, **{f"organ {number}": 3 * number for number in range(1, MANY)}})


def plan_of(small_plan: Plan, labels: Labels) -> Plan:
    """Two configurations that see other grids: one coarse and in 3-D, one slice by slice."""
    deep = small_plan.configurations["3d_fullres"]
    network = replace(deep.network, kernels=((3, 3),) * 2, strides=((1, 1), (2, 2)))
    flat = replace(deep, patch_size=(8, 8), spacing=(None, 1.0, 3.0), network=network)
    coarse = replace(deep, spacing=(2.5, 3.0, 3.0))
    return replace(small_plan, labels=labels, configurations={"3d_fullres": coarse, "2d": flat})


def weights(plan: Plan, name: str, seed: int) -> bytes:
    torch.manual_seed(seed)
    network = plan.task(name).network()
    for parameter in network.parameters():
        parameter.data *= 2  # so that probabilities are not all alike
    return save(network.state_dict())


def bundle(target: Path, plan: Plan, ensemble: dict[str, float], **fields: object) -> Path:
    """Of two folds of every configuration."""
    folds = {name: ("0", "1") for name in plan.configurations}
    manifest = replace(Manifest("Small", folds, ensemble), **fields)
    stored = {name: {fold: weights(plan, name, int(fold)) for fold in folds[name]} for name in folds}
    write_bundle(target, manifest, plan, stored)
    return target


def image(seed: int = 0) -> Image:
    array = np.random.default_rng(seed).normal(size=(1, *GEOMETRY.shape)).astype(np.float32)
    array[:, 0] = array[:, :, :2] = 0  # something is cropped away
    return Image(array, GEOMETRY)


class OnlyLogits(nn.Module):
    """A network that does not say what its last layer is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return self.network(images)


def network(seed: int, dimensions: int = 3, heads: int = MANY) -> nn.Module:
    """Of four feature maps."""
    ones = (1,) * dimensions
    spec = Spec((4, 6), ((3,) * dimensions,) * 2, (ones, (2,) * dimensions), (1, 1), (1,))
    torch.manual_seed(seed)
    built = spec.build(InputSpec.of_image(1), heads).eval()
    for parameter in built.heads.parameters():
        nn.init.normal_(parameter)  # biases too
    return built


def prepared(small_plan: Plan, labels: Labels, folder: Path, **fields: object) -> Path:
    """``model.zip`` of two configurations, and two images in ``in``."""
    bundle(folder / "model.zip", plan_of(small_plan, labels), {"3d_fullres": 0.5, "2d": 0.5}, **fields)
    for number in range(2):
        write_channels(image(number).array, GEOMETRY, folder / "in" / f"case{number}_0000.nii.gz")
    return folder


def predict(folder: Path, *more: str) -> int:
    """The command, of what ``prepared`` made, into ``out``."""
    words = ["predict", "-m", str(folder / "model.zip"), "-i", str(folder / "in"), "-o", str(folder / "out")]
    fast = ["--device", "cpu", "--precision", "float32", "--threads", "1", "--tta", "none"]
    return main([*words, *fast, *more, "--workspace", str(folder / "workspace")])
