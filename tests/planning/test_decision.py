"""Configurations that see some channels: what they are called, and what of them is as in the one that sees all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from autoseg.planners import measured, tiny
from formula import Formula, described

from autoseg.core.fusion import Fusion
from autoseg.core.missing import MissingChannels
from autoseg.core.records import from_json, to_json
from autoseg.errors import RecordError, UsageError
from autoseg.parts.inputs import presence
from autoseg.parts.normalizers import zscore
from autoseg.plan import Plan
from autoseg.planning.constraints import MULTI_ENCODER, PlanConstraints
from autoseg.planning.decision import subsets, with_subsets
from autoseg.planning.target import gpu
from autoseg.preprocessing.keys import prepared_as

CHANNELS = ("T1", "T1ce", "FLAIR", "T2")
EACH = Fusion("decision", None)


def planned(channels: tuple[str, ...] = CHANNELS, planner: Any = tiny.PLANNER, **given: Any) -> Plan:
    made, fingerprint = described((40, 120, 120), (2.0, 1.0, 1.0), cases=20, channels=len(channels))
    found: Plan = planner.plan(replace(made, channels=channels), fingerprint, **given)
    return found


def test_each_channel_has_a_configuration_that_sees_it_and_shares_the_prepared_cases() -> None:
    plan = planned()
    found = with_subsets(plan, EACH)
    assert {*found.configurations} - {*plan.configurations} == {f"3d_fullres_{name}" for name in CHANNELS}
    assert found.default == plan.default == "3d_fullres"
    whole = plan.configurations["3d_fullres"]
    for number, channel in enumerate(CHANNELS):
        name = f"3d_fullres_{channel}"
        one = found.configurations[name]
        assert (one.channels, found.task(name).inputs.seen) == ((number,), 1)
        assert prepared_as(found, name) == "3d_fullres"
        assert replace(one, channels=None, cost=whole.cost, reasons=whole.reasons) == whole
        assert one.reasons[0].startswith(f"channels: {channel} only; all else as in 3d_fullres")
    assert from_json(Plan, to_json(found)) == found


def test_groups_may_overlap_and_need_not_hold_all_channels() -> None:
    fusion = Fusion("decision", None, (("T1", "T1ce"), ("T1ce", "t2")))
    assert subsets(fusion, CHANNELS) == {"T1+T1ce": (0, 1), "T1ce+T2": (1, 3)}
    assert with_subsets(planned(), fusion).task("3d_fullres_T1ce+T2").seen == (1, 3)


@pytest.mark.parametrize(
    ("channels", "names"),
    [
        (("T1 / post", "a:b"), ("T1-post", "a-b")),
        (("a/b", "a:b"), ("0", "1")),
        (("MRI", "mri"), ("0", "1")),
        (("../x", "é"), ("-x", "é")),
    ],
)
def test_names_of_channels_become_names_of_files(channels: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert [*subsets(EACH, channels)] == [*names]
    assert {f"3d_fullres_{name}" for name in names} < {*with_subsets(planned(channels), EACH).configurations}


def test_channels_that_stay_zero_outside_are_counted_among_those_that_are_seen() -> None:
    plan = planned()
    masks = (True, False, True, True)
    whole = plan.configurations["3d_fullres"]
    whole = replace(
        whole,
        normalizers=tuple(map(zscore.Spec, masks)),
        augmentation=replace(whole.augmentation, masked_channels=(0, 2, 3)),
    )
    plan = replace(plan, configurations={"3d_fullres": whole})
    found = with_subsets(plan, Fusion("decision", None, (("T2", "T1ce"), ("T1ce",), ("FLAIR",)))).configurations
    masked = {name: one.augmentation.masked_channels for name, one in found.items()}
    assert masked == {
        "3d_fullres": (0, 2, 3),
        "3d_fullres_T2+T1ce": (0,),
        "3d_fullres_T1ce": (),
        "3d_fullres_FLAIR": (0,),
    }


def test_each_needs_its_own_channels_and_those_that_are_required() -> None:
    plan = planned()
    whole = replace(
        plan.configurations["3d_fullres"],
        missing=MissingChannels({"T1": 0.2, "FLAIR": 0.5, "T2": 0.1}, 0.5),
        inputs=(presence.Spec(),),
    )
    plan = replace(plan, configurations={"3d_fullres": whole})
    found = with_subsets(plan, Fusion("decision", None, (("T1", "T1ce"), ("FLAIR", "T1", "T2"), ("T2",))))
    expected = {"3d_fullres_T1+T1ce": {"FLAIR": 0.0, "T2": 0.0}, "3d_fullres_FLAIR+T1+T2": None}
    for name, rates in expected.items():
        one = found.configurations[name]
        assert one.missing == (MissingChannels(rates, validate=False) if rates else None) and one.inputs == ()
    second = found.task("3d_fullres_T2")
    assert second.problem_without((0, 2)) is None  # T1 and FLAIR
    assert "lacks T1ce" in (second.problem_without((1,)) or "")  # required, though this network does not see it
    assert "lacks T2" in (second.problem_without((3,)) or "")


def test_a_network_of_some_channels_cannot_do_without_them() -> None:
    record = to_json(with_subsets(planned(), EACH))
    record["configurations"]["3d_fullres_T1"]["missing"] = {"rates": {"T1": 0.5}}
    with pytest.raises(RecordError, match="'T1' is one of the channels that this network sees"):
        from_json(Plan, record)


def test_fusion_elsewhere_adds_nothing() -> None:
    plan = planned()
    assert with_subsets(plan, None) is plan and with_subsets(plan, Fusion("middle")) is plan


def test_the_planner_notes_it_and_plans_its_own_networks() -> None:
    bench, asked = Formula(gpu("any", 8e9, 1e12)), PlanConstraints(fusion=EACH)
    found = planned(planner=measured.PLANNER, constraints=asked, bench=bench)
    assert (found.fusion, found.network) == (EACH, None)
    without = planned(planner=measured.PLANNER, bench=bench)
    assert replace(found, fusion=None) == without


@pytest.mark.parametrize(
    ("channels", "groups", "said"),
    [
        (("T1",), (), "images have one channel only"),
        (CHANNELS, (("PD",),), "there is no channel 'PD'"),
        (CHANNELS, (CHANNELS,), "some of the channels, not all"),
        (CHANNELS, (("T1", "T1"),), "each once"),
        (CHANNELS, (("T1", "T2"), ("T2", "T1")), "two groups hold the same channels"),
    ],
)
def test_subsets_that_are_none_are_refused(
    channels: tuple[str, ...], groups: tuple[tuple[str, ...], ...], said: str
) -> None:
    with pytest.raises(UsageError, match=f"--(fusion decision|groups): .*{said}"):
        subsets(Fusion("decision", None, groups), channels)


def test_a_network_of_several_encoders_sees_several_modalities() -> None:
    with pytest.raises(UsageError, match="has a network for each modality"):
        PlanConstraints(fusion=EACH, network=MULTI_ENCODER)


@pytest.mark.parametrize(
    ("channels", "said"),
    [([4], "there are 4"), ([-1], "there are 4"), ([], "each once"), ([1, 1], "each once"), (["T1"], "expected int")],
)
def test_a_plan_with_channels_that_are_none_is_refused_where_it_is_read(channels: list[Any], said: str) -> None:
    record = to_json(with_subsets(planned(), EACH))
    record["configurations"]["3d_fullres_T1"]["channels"] = channels
    with pytest.raises(RecordError, match=said):
        from_json(Plan, record)


def test_a_plan_of_before_sees_all_channels() -> None:
    record = to_json(planned())
    for configuration in record["configurations"].values():
        assert configuration.pop("channels") is None
    assert from_json(Plan, record) == planned()
