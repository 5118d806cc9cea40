"""The torch side of segresnet and segresnet_vae."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ...errors import UsageError
from ._monai import Headed, without

if TYPE_CHECKING:
    from . import segresnet_vae
    from .segresnet import Spec

LAST = "conv_final.2"  # as MONAI calls the layer that makes logits
LEAST = 1e-8  # added to variances before their logarithm is taken


def segresnet(spec: Spec, channels: int, heads: int) -> Headed:
    """See ``segresnet.Spec.build``."""
    from monai.networks.nets.segresnet import SegResNet

    network = SegResNet(
        spec.dimensions, spec.width, channels, heads, blocks_down=spec.blocks_down, blocks_up=spec.blocks_up
    )
    return Headed(without(network, LAST), spec.dimensions, spec.width, heads)


class SegResNetVAE(Headed):
    """See ``segresnet_vae.Spec.build``. Where it ``rebuilds``, each call in training leaves in ``rebuilt`` what the
    objective ``vae`` learns from: of each patch the mean squared error and the divergence (B, 2)."""

    def __init__(self, spec: segresnet_vae.Spec, channels: int, heads: int) -> None:
        from monai.networks.nets.segresnet import SegResNetVAE as Network

        network = Network(
            spec.patch_size,
            vae_estimate_std=True,
            vae_nz=spec.latent,
            spatial_dims=spec.dimensions,
            init_filters=spec.width,
            in_channels=channels,
            out_channels=heads,
            blocks_down=spec.blocks_down,
            blocks_up=spec.blocks_up,
        )
        super().__init__(without(network, LAST), spec.dimensions, spec.width, heads)
        self.patch_size = spec.patch_size
        self.rebuilds = False
        self.rebuilt: Tensor | None = None

    @property
    def alternatives(self) -> list[list[nn.Parameter]]:
        """See ``contracts.Network``: the autoencoder's weights, which no other objective uses."""
        return [[weight for name, weight in self.network.named_parameters() if name.startswith("vae_")]]

    def maps(self, images: Tensor) -> Tensor:
        """The finest feature maps (B, features, *patch)."""
        network: Any = self.network
        coarsest, skips = network.encode(images)
        if self.rebuilds and self.training:
            self.rebuilt = self._rebuilt(images, coarsest)
            # Torch looks for the weights that several processes learn among those which what is returned depends on.
            coarsest = coarsest + 0.0 * self.rebuilt.sum()
        maps: Tensor = network.decode(coarsest, skips[::-1])
        return maps

    def _rebuilt(self, images: Tensor, coarsest: Tensor) -> Tensor:
        network: Any = self.network
        if tuple(images.shape[2:]) != self.patch_size:
            raise UsageError(
                f"the autoencoder of segresnet_vae rebuilds patches of {self.patch_size} voxels, found "
                f"{tuple(images.shape[2:])}: set network.patch_size, too"
            )
        encoded = network.vae_down(coarsest).flatten(1)
        mean, deviation = network.vae_fc1(encoded).float(), softplus(network.vae_fc2(encoded).float())
        variance = deviation**2
        divergence = (mean**2 + variance - (LEAST + variance).log() - 1).sum(1) / images[0, 0].numel()
        drawn = network.act_mod(network.vae_fc3(mean + deviation * torch.randn_like(mean)))
        maps = network.vae_fc_up_sample(drawn.view(-1, network.smallest_filters, *network.fc_insize))
        for enlarge, stage in zip(network.up_samples, network.up_layers):
            maps = stage(enlarge(maps))
        error = (network.vae_conv_final(maps).float() - images).square().flatten(1).mean(1)
        return torch.stack((error, divergence), 1)
