"""Fusion in the middle beside fusion at the input: what joins the plan, what it is called, and what stays as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from autoseg.planners import measured
from formula import Formula, described
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.core.fusion import METHODS, Fusion, read_levels
from autoseg.core.records import from_json, to_json
from autoseg.errors import RecordError, UsageError
from autoseg.parts.networks import multi_encoder_unet
from autoseg.plan import Plan
from autoseg.planning.constraints import MULTI_ENCODER, PlanConstraints
from autoseg.planning.decision import subsets, with_subsets
from autoseg.planning.explain import explanation
from autoseg.planning.middle import with_middle
from autoseg.planning.target import gpu
from autoseg.preprocessing.keys import prepared_as

CHANNELS = ("T1", "T1ce", "FLAIR", "T2")
PAIRS = (("T1", "T1ce"), ("FLAIR", "T2"))


def planned(
    levels: str,
    shape: tuple[int, int, int] = (40, 120, 120),
    channels: tuple[str, ...] = CHANNELS,
    groups: Any = (),
    **asked: Any,
) -> Plan:
    """As ``make_plan`` does it, on a machine that computes as a formula says."""
    made, fingerprint = described(shape, (2.0, 1.0, 1.0), cases=20, channels=len(channels))
    dataset, bench = replace(made, channels=channels), Formula(gpu("any", 8e9, 1e12))
    fusion, beside = read_levels(levels, groups)
    first, *others = PlanConstraints(fusion=fusion, beside=beside, **asked).single
    found = measured.PLANNER.plan(dataset, fingerprint, first, bench)
    for each in others:
        found = with_middle(found, measured.PLANNER.plan(dataset, fingerprint, each, bench))
    return with_subsets(found, fusion)


@pytest.mark.slow
@settings(max_examples=3)
@given(
    st.tuples(st.integers(1, 150), st.integers(24, 300), st.integers(24, 300)),
    st.sampled_from(["input,middle", "middle:attention,input,middle", "decision,middle:mean_maximum"]),
    st.sampled_from([(), PAIRS]),
    st.sampled_from([None, 3600.0]),
)
def test_one_configuration_of_each_fusion_joins_a_plan_that_stays_as_it_was(
    shape: tuple[int, int, int], levels: str, groups: tuple[tuple[str, ...], ...], seconds: float | None
) -> None:
    found = planned(levels, shape, groups=groups, seconds=seconds)
    decided = "decision" in levels
    alone = planned("decision" if decided else "input", shape, groups=groups if decided else (), seconds=seconds)
    _, beside = read_levels(levels, groups)
    assert found.beside == beside and from_json(Plan, to_json(found)) == found
    joined = {*found.configurations} - {*alone.configurations}
    rest = {name: one for name, one in found.configurations.items() if name not in joined}
    assert replace(found, configurations=rest, beside=()) == alone
    for fusion in beside:
        single = planned(fusion.written, shape, groups=groups, seconds=seconds)
        of = alone.default if alone.default in single.configurations else single.default
        name = f"{of}_{fusion.suffix}"
        joined.remove(name)
        one, expected = found.configurations[name], single.configurations[of]
        assert replace(one, reasons=expected.reasons) == expected
        assert isinstance(one.network, multi_encoder_unet.Spec) and one.network.fusion == fusion.method
        assert one.cost is not None and one.cost.memory <= 8e9
        assert one.reasons[0].startswith(f"beside: {of} with fusion in the middle")
        assert one.reasons[1:] == expected.reasons
        if one.spacing == found.configurations[found.default].spacing:
            assert prepared_as(found, name) == prepared_as(found, found.default)
    assert not joined


@pytest.mark.slow
def test_the_network_that_is_asked_for_is_that_of_the_input() -> None:
    found = planned("input,middle", network="plain_unet")
    assert found.network == "plain_unet"
    assert not isinstance(found.configurations["3d_fullres"].network, multi_encoder_unet.Spec)
    assert isinstance(found.configurations["3d_fullres_middle"].network, multi_encoder_unet.Spec)
    with pytest.raises(UsageError, match=f"--network {MULTI_ENCODER} is no fusion at the input"):
        PlanConstraints(network=MULTI_ENCODER, beside=(Fusion("middle"),))


@pytest.mark.slow
def test_where_a_plan_has_no_such_configuration_its_own_default_joins() -> None:
    plan, fused = planned("input"), planned("middle")
    only = replace(fused, configurations={"2d": fused.configurations["2d"]}, default="2d")
    assert [*with_middle(plan, only).configurations] == [*plan.configurations, "2d_middle"]


def test_the_explanation_tells_each_and_by_what_it_is_limited() -> None:
    said = " ".join(explanation(planned("input,middle,decision")).split())
    middle = said.partition("3d_fullres_middle ")[2].partition("3d_fullres_T1 ")[0]
    assert (
        "beside 3d_fullres with fusion in the middle, planned by itself: one training of it may take as much" in middle
    )
    assert "4 encoders, which see T1; T1ce; FLAIR; T2" in middle and "memory" in middle and "time" in middle


@pytest.mark.slow
def test_a_channel_that_is_called_as_a_fusion_takes_no_name_from_it() -> None:
    channels = ("Middle", "T2")
    assert [*subsets(Fusion("decision", None), channels)] == ["Middle", "T2"]
    found = planned("middle,decision", channels=channels).configurations
    assert {"3d_fullres_middle", "3d_fullres_0", "3d_fullres_1"} < {*found}
    assert found["3d_fullres_middle"].channels is None and found["3d_fullres_0"].channels == (0,)


def test_a_name_that_the_plan_has_already_is_refused() -> None:
    plan = planned("input")
    taken = replace(plan, configurations=plan.configurations | {"3d_fullres_t2": plan.configurations["2d"]})
    with pytest.raises(UsageError, match="--fusion decision: the plan has a configuration 3d_fullres_T2 already"):
        with_subsets(taken, Fusion("decision", None))


def test_a_draft_notes_what_is_planned_beside() -> None:
    made, fingerprint = described((40, 120, 120), (2.0, 1.0, 1.0), cases=20, channels=4)
    asked = PlanConstraints(fusion=Fusion("decision", None), beside=(Fusion("middle"), Fusion("middle", "attention")))
    draft = measured.PLANNER.draft(replace(made, channels=CHANNELS), fingerprint, asked)
    assert (draft.fusion, draft.beside, draft.network) == (asked.fusion, asked.beside, None)
    assert from_json(Plan, to_json(draft)) == draft


@pytest.mark.parametrize(
    ("fusion", "beside", "said"),
    [
        (None, (Fusion("decision", None),), "must be middle"),
        (None, (Fusion("middle"), Fusion("middle", METHODS[0], PAIRS)), "joined by the same method"),
        (Fusion("middle"), (Fusion("middle", "attention"),), "fuse at the middle, and not at the input"),
        (None, (Fusion("middle", groups=(("T1",), ("PD",))),), "there is no channel 'PD'"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused_where_it_is_read(fusion: Any, beside: Any, said: str) -> None:
    record = to_json(planned("input")) | {"fusion": to_json(fusion), "beside": to_json(beside)}
    with pytest.raises(RecordError, match=said):
        from_json(Plan, record)
