"""A plan with all that several modalities bring: alignment, filters, encoders, masks, channels that may be missing."""

from __future__ import annotations

from dataclasses import replace

from autoseg.alignment.record import AFFINE, Alignment
from autoseg.configuration import INPUTS, NORMALIZERS
from autoseg.core.channels import ChannelSource
from autoseg.core.fusion import Fusion
from autoseg.core.masks import MaskLabels
from autoseg.core.missing import MissingChannels
from autoseg.parts.filters import n4
from autoseg.parts.networks import multi_encoder_unet
from autoseg.plan import Plan

CHANNELS, MASKS = ("T1", "FLAIR"), MaskLabels(("lung", "heart"))
SOURCES = (ChannelSource(0), ChannelSource(1, 3))
ALIGNMENT = Alignment(1, AFFINE)


def modal_plan(plan: Plan) -> Plan:
    """``plan`` for two channels, some of which may be missing, with an encoder for each, and for one of them alone."""
    normalizer = NORMALIZERS.load("none")()
    first = replace(
        plan.configurations["3d_fullres"],
        normalizers=(normalizer, normalizer),
        filters=((n4.Spec(),), ()),
    )
    network = multi_encoder_unet.Spec(**vars(first.network), fusion="attention", groups=((0,), (1,)))
    presence = INPUTS.load("presence")()
    missing = MissingChannels({"FLAIR": 0.2}, 0.5)
    configurations = {
        "middle": replace(first, network=network, inputs=(presence,), missing=missing),
        "alone": replace(first, channels=(1,)),
    }
    return replace(
        plan,
        channels=CHANNELS,
        labels=MASKS,
        configurations=configurations,
        default="middle",
        fusion=Fusion("middle", "attention", (("T1",), ("FLAIR",))),
        channel_sources=SOURCES,
        alignment=ALIGNMENT,
    )
