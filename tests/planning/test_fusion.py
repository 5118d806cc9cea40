"""Fusion in the middle is a network like any other: searched within every limit, by what its encoders really cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from autoseg.planners import cpu, measured, tiny
from formula import Formula, described
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.core.fusion import METHODS, Fusion
from autoseg.core.records import from_json, to_json
from autoseg.errors import RecordError, UsageError
from autoseg.parts.networks import multi_encoder_unet
from autoseg.plan import Plan
from autoseg.planning.constraints import MULTI_ENCODER, PlanConstraints, fusions_of
from autoseg.planning.memory import elements_per_voxel
from autoseg.planning.target import gpu

CHANNELS = ("T1", "T1ce", "FLAIR", "T2")
PAIRS = (("T1", "T1ce"), ("FLAIR", "T2"))
LARGE = ((120, 400, 400), (2.0, 0.8, 0.8))


def dataset(channels: tuple[str, ...] = CHANNELS, shape: tuple[int, ...] = LARGE[0]) -> tuple[Any, Any]:
    made, fingerprint = described(shape, LARGE[1], cases=60, channels=len(channels))
    return replace(made, channels=channels), fingerprint


def plan(
    fusion: Fusion | None, memory: float = 8e9, seconds: float | None = None, network: str | None = None, **of: Any
) -> Plan:
    constraints = PlanConstraints(fusion=fusion, seconds=seconds, network=network)
    return measured.PLANNER.plan(*dataset(**of), constraints, Formula(gpu("any", memory, 1e12)))


@pytest.mark.slow
@settings(max_examples=3)
@given(
    st.tuples(st.integers(1, 150), st.integers(24, 300), st.integers(24, 300)),
    st.floats(2e9, 40e9),
    st.booleans(),
    st.sampled_from(METHODS),
    st.sampled_from([(), PAIRS]),
)
def test_every_configuration_has_the_network_and_keeps_every_limit(
    shape: tuple[int, int, int], memory: float, hurried: bool, method: str, groups: tuple[tuple[str, ...], ...]
) -> None:
    asked = Fusion("middle", method, groups)
    found = plan(asked, memory, 3600.0 if hurried else None, shape=shape)
    assert (found.network, found.fusion) == (MULTI_ENCODER, asked)
    assert from_json(Plan, to_json(found)) == found
    for configuration in found.configurations.values():
        network = configuration.network
        assert isinstance(network, multi_encoder_unet.Spec)
        assert (network.fusion, network.groups) == (method, ((0, 1), (2, 3)) if groups else ())
        assert configuration.cost is not None and configuration.cost.memory <= memory
        (told,) = (reason for reason in configuration.reasons if reason.startswith("fusion: "))
        assert ("T1 and T1ce; FLAIR and T2" if groups else "T1; T1ce; FLAIR; T2") in told
        assert f"by {method.replace('_', ' and ')}" in told
        own = network.own_features(2 if groups else 4)
        assert f"{own[0]} to {max(own)} feature maps where the decoder has {network.features[0]}" in told


@pytest.mark.slow
def test_what_is_counted_grows_with_the_encoders_and_is_counted_for_those_that_are_asked_for() -> None:
    counted = []
    for fusion in (None, Fusion("middle", groups=PAIRS), Fusion("middle")):
        planned = plan(fusion, network="plain_unet" if fusion is None else None)
        network = planned.configurations["3d_fullres"].network
        task = planned.task("3d_fullres")
        counted.append(elements_per_voxel(task) / network.features[0])
    assert counted[0] < counted[1] < counted[2] < 2 * counted[0]


def test_fusion_at_the_input_is_the_plan_without_a_word() -> None:
    assert fusions_of("input", None) == fusions_of(None, None) == (None, ())
    found = plan(None)
    assert found.fusion is None and found.network is None
    record = to_json(found)
    del record["fusion"], record["beside"]
    assert from_json(Plan, record) == found, "a plan of before"


@pytest.mark.slow
def test_the_network_can_be_asked_for_by_its_name_too() -> None:
    by_name, by_level = plan(None, network=MULTI_ENCODER), plan(Fusion("middle"))
    assert replace(by_level, fusion=None) == by_name


def test_a_draft_notes_what_was_asked_for() -> None:
    asked = PlanConstraints(fusion=Fusion("middle", "attention", PAIRS))
    draft = measured.PLANNER.draft(*dataset(), asked)
    assert (draft.network, draft.fusion, draft.draft) == (MULTI_ENCODER, asked.fusion, True)
    assert from_json(Plan, to_json(draft)) == draft


@pytest.mark.parametrize(
    ("channels", "groups", "said"),
    [
        (("T1",), (), "--fusion middle: .*the images have one channel only"),
        (CHANNELS, (("T1", "T2"), ("FLAIR", "PD")), r"--groups: there is no channel 'PD'; name one of T1 \(0\), "),
        (CHANNELS, (("T1", "T2"), ("FLAIR",)), "each of the 4 channels must be in one group"),
        (CHANNELS, (CHANNELS,), "at least two groups"),
        (tuple("ABCDEFG"), (), "let channels share one"),
    ],
)
def test_what_does_not_fit_the_channels_is_refused(
    channels: tuple[str, ...], groups: tuple[tuple[str, ...], ...], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        plan(Fusion("middle", groups=groups), channels=channels)


def test_by_its_name_it_is_refused_for_one_channel_too() -> None:
    with pytest.raises(UsageError, match=f"--network {MULTI_ENCODER}: .*one channel only"):
        plan(None, network=MULTI_ENCODER, channels=("T1",))


@pytest.mark.parametrize("planner", [cpu.PLANNER, tiny.PLANNER])
def test_planners_with_fixed_networks_refuse_it(planner: Any) -> None:
    with pytest.raises(UsageError, match=f"--fusion middle: planner {planner.name} plans its own networks only"):
        planner.plan(*dataset(), PlanConstraints(fusion=Fusion("middle")))


def test_another_network_beside_it_is_refused() -> None:
    with pytest.raises(UsageError, match="--network plain_unet has its own way to combine channels"):
        PlanConstraints(network="plain_unet", fusion=Fusion("middle"))


@pytest.mark.slow
def test_a_plan_whose_groups_are_no_channels_is_refused_where_it_is_read() -> None:
    record = to_json(plan(Fusion("middle", groups=PAIRS)))
    record["configurations"]["2d"]["network"]["groups"] = [[0, 1], [2, 9]]
    with pytest.raises(RecordError, match=r"configurations\.2d\.network: each of the 4 channels must be in one group"):
        from_json(Plan, record)
    record = to_json(plan(Fusion("middle", groups=PAIRS)))
    record["fusion"]["groups"] = [["T1"], ["PD"]]
    with pytest.raises(RecordError, match="there is no channel 'PD'"):
        from_json(Plan, record)
