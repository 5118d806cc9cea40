"""Fields that are named with a network: read, refused, and planned with, by counted memory."""

from __future__ import annotations

import math
from typing import Any

import pytest
from autoseg.planners import measured
from formula import Formula, described

from autoseg.changes import changed
from autoseg.configuration import NETWORKS
from autoseg.core.fusion import Fusion
from autoseg.core.records import from_json, to_json
from autoseg.errors import UsageError
from autoseg.parts.networks import dints, modular_unet, multi_encoder_unet, plain_unet, segresnet, unetr
from autoseg.plan import Plan
from autoseg.planning.constraints import PlanConstraints
from autoseg.planning.memory import elements_per_voxel
from autoseg.planning.named_network import fields_of, part_of, values_of
from autoseg.planning.target import gpu

LARGE = ((120, 400, 400), (2.0, 0.8, 0.8))


def plan(network: str, memory: float = 8e9) -> Plan:
    given = described(*LARGE, cases=60, channels=2)
    return measured.PLANNER.plan(*given, PlanConstraints(network=network), Formula(gpu("any", memory, 1e12)))


def test_a_name_comes_with_fields_or_without() -> None:
    assert (part_of("plain_unet"), fields_of("plain_unet")) == ("plain_unet", {})
    text = "modular_unet: block = dense ,norm=batch"
    assert (part_of(text), fields_of(text)) == ("modular_unet", {"block": "dense", "norm": "batch"})
    assert values_of(text, modular_unet.Spec) == (("block", "dense"), ("norm", "batch"))


@pytest.mark.parametrize("cells", ["conv,skip", '["conv", "skip"]'])
def test_a_list_is_written_as_for_a_change(cells: str) -> None:
    found = values_of(f"dints:width=8,cells={cells},width=8".removesuffix(",width=8"), dints.Spec)
    assert found == (("width", 8), ("cells", ("conv", "skip")))
    assert values_of(f"dints:cells={cells},width=8", dints.Spec) == (("cells", ("conv", "skip")), ("width", 8))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modular_unet:", "'' is no field with a value; write NAME:FIELD=VALUE"),
        ("modular_unet:block", "'block' is no field with a value"),
        ("modular_unet:block=", "'block=' is no field with a value"),
        ("modular_unet:block=dense,,norm=batch", "'block=dense,' is no field with a value"),
        ("modular_unet:block=dense,block=plain", "block is given twice"),
    ],
)
def test_what_is_written_wrongly_is_refused_at_once(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        PlanConstraints(network=text)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (
            "modular_unet:blok=dense",
            modular_unet.Spec,
            "'blok' to choose; did you mean block[?] Known are dropout, block",
        ),
        ("modular_unet:features=4", modular_unet.Spec, "no field 'features' to choose. Known are dropout, block"),
        ("plain_unet:block=dense", plain_unet.Spec, "'block' to choose. Known are dropout"),
        ("modular_unet:block=3", modular_unet.Spec, "--network modular_unet: block: expected str, found 3"),
        ("segresnet:dimensions=2", segresnet.Spec, "'dimensions' to choose. Known are width, blocks_down"),
        ("modular_unet:block=dense,norm", modular_unet.Spec, "block: expected str, found"),
        ("unetr:grid=1,1", unetr.Spec, "'grid' to choose"),
        ("multi_encoder_unet:groups=1", multi_encoder_unet.Spec, "groups: expected a list"),
    ],
)
def test_a_field_that_cannot_be_chosen_is_refused(text: str, kind: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        values_of(text, kind)


def test_a_value_that_the_network_refuses_is_refused_with_its_reason() -> None:
    with pytest.raises(UsageError, match="--network modular_unet:norm=nope: norm must be one of instance, group"):
        plan("modular_unet:norm=nope")


@pytest.mark.parametrize("network", ["multi_encoder_unet:fusion=attention", "unpaired_unet"])
def test_a_fusion_is_named_in_one_place(network: str) -> None:
    with pytest.raises(UsageError, match=r"a network for each modality, (multi_encoder|unpaired)_unet is one"):
        PlanConstraints(network=network, fusion=Fusion("decision", None))
    with pytest.raises(UsageError, match="give --fusion or --network"):
        PlanConstraints(network="modular_unet:block=dense", fusion=Fusion("middle"))


@pytest.mark.slow
def test_what_is_counted_and_planned_is_the_network_with_its_fields() -> None:
    """A recurrent residual block of two convolutions, each seen three times, holds more: its patches are smaller."""
    asked = "modular_unet:block=recurrent_residual,attention=spatial,norm=group"
    plain, found = plan("modular_unet:block=plain", 4e9), plan(asked, 4e9)
    assert found.network == asked and from_json(Plan, to_json(found)) == found
    for configuration in found.configurations.values():
        network = configuration.network
        assert isinstance(network, modular_unet.Spec)
        assert (network.block, network.attention, network.norm) == ("recurrent_residual", "spatial", "group")
        assert configuration.cost is not None and configuration.cost.memory <= 4e9
        assert any(f"network: {asked} in size" in reason for reason in configuration.reasons)
    tasks = [each.task("3d_fullres") for each in (plain, found)]
    counted = [elements_per_voxel(task) / task.configuration.network.features[0] for task in tasks]
    assert 2 < counted[1] / counted[0] < 8
    voxels = [task.configuration.batch_size * math.prod(task.configuration.patch_size) for task in tasks]
    assert voxels[1] < voxels[0] / 1.5


def test_a_draft_notes_the_fields_and_another_network_is_not_set() -> None:
    asked = "modular_unet:block=dense"
    draft = measured.PLANNER.draft(*described(*LARGE, cases=20), PlanConstraints(network=asked))
    assert draft.draft and draft.network == asked and "modular_unet:block=dense, as you asked" in draft.reasons[0]
    NETWORKS.load("modular_unet")
    with pytest.raises(UsageError, match="--network plain_unet"):
        changed(draft, ["network=plain_unet"])
