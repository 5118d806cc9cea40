"""Channels may be missing where training cases lack them, or on request; what is required is never withheld."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from autoseg.planners import cpu, measured, plain_unet

from autoseg.configuration import Configuration
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.missing import MissingChannels
from autoseg.core.records import from_json, to_json
from autoseg.data.dataset import Case, Dataset
from autoseg.data.fingerprint import CaseFingerprint, ChannelFingerprint, Fingerprint, Intensities
from autoseg.errors import RecordError, UsageError
from autoseg.parts.inputs import presence, prior
from autoseg.plan import Plan
from autoseg.planning.constraints import NO_CONSTRAINTS, PlanConstraints
from autoseg.planning.missing import with_missing_channels
from autoseg.planning.planner import Planner

THERE = ChannelFingerprint(0.0, 1.0, 0.0, 0.5, 1.0, 100, "")
WISHED = PlanConstraints(missing_channels=True)


def described(
    lacking: Sequence[str], channels: Sequence[str] = ("T1", "FLAIR"), spacing: tuple[float, float, float] = (1, 1, 1)
) -> tuple[Dataset, Fingerprint]:
    """A case for each entry of ``lacking``, which names the channel that it lacks, if any."""
    shape, labels = (40, 100, 100), ExclusiveLabels({"background": 0, "organ": 1})
    cases, measured = [], {}
    for number, name in enumerate(lacking):
        cases.append(Case.of_files(f"case_{number}", [f"/{channel}.nii.gz" for channel in channels], "/l.nii.gz"))
        there = tuple(None if channel == name else THERE for channel in channels)
        measured[f"case_{number}"] = CaseFingerprint(shape, spacing, shape, 1.0, "", channels=there)
    statistics = (Intensities(0.0, 0.0, 1.0, -3.0, 3.0, -2.0, 2.0),) * len(channels)
    return (
        Dataset("Dataset001_Made", "/d", tuple(channels), labels, tuple(cases), ".nii.gz", "nnunet"),
        Fingerprint(measured, statistics),
    )


def planned(
    lacking: Sequence[str], constraints: PlanConstraints = NO_CONSTRAINTS, planner: Planner = cpu.PLANNER
) -> Configuration:
    return planner.plan(*described(lacking), constraints).configuration()[1]


def test_without_gaps_nothing_changes() -> None:
    found = planned([""] * 5)
    assert found.missing is None and found.inputs == ()


def test_what_training_cases_lack_may_be_missing_by_that_rate() -> None:
    found = planned(["FLAIR", "", "FLAIR", "", ""])
    assert found.missing == MissingChannels({"FLAIR": 0.4}) and found.inputs == (presence.Spec(),)
    assert planned(["FLAIR"] * 8 + [""] * 2).missing == MissingChannels({"FLAIR": 0.5})  # else it is hardly seen


def test_on_request_any_channel_may_be_missing() -> None:
    assert planned([""] * 5, WISHED).missing == MissingChannels({"T1": 0.0, "FLAIR": 0.0}, 0.5)
    assert planned(["T1", "", "", ""], WISHED).missing == MissingChannels({"T1": 0.25, "FLAIR": 0.0}, 0.5)
    needed = replace(WISHED, require=("T1",))
    assert planned([""] * 5, needed).missing == MissingChannels({"FLAIR": 0.0}, 0.5)


def test_every_configuration_is_told_and_a_cascade_keeps_its_other_input() -> None:
    plan = plain_unet.PLANNER.plan(*described(["FLAIR", "", ""], spacing=(8, 1, 1)), PlanConstraints(slices=3))
    seen = {name: (one.inputs, one.missing) for name, one in plan.configurations.items()}
    missing = MissingChannels({"FLAIR": 0.3333})
    assert seen == {"3d_fullres": ((presence.Spec(),), missing), "2d": ((presence.Spec(),), missing)} | {
        "2.5d": ((), missing)
    }
    (reason,) = (reason for reason in plan.reasons if reason.startswith("missing channels: "))
    assert "FLAIR (lacking in 1 of 3 cases, withheld from 33% of the patches)" in reason
    assert "but not that of 2.5d" in reason
    full = replace(plan.configurations["3d_fullres"], inputs=(prior.Spec("2d"),), missing=None)
    cascade = replace(plan, configurations=plan.configurations | {"cascade": full})
    _, fingerprint = described(["FLAIR", "", ""])
    again = with_missing_channels(
        replace(cascade, configurations={"cascade": full}, default="cascade"), fingerprint, WISHED
    )
    assert [group.name for group in again.task().inputs.groups] == ["image", "prior", "presence"]


def test_a_draft_knows_of_gaps_without_being_asked() -> None:
    drafted = measured.PLANNER.draft(*described(["FLAIR", "", ""]))
    assert drafted.configuration()[1].missing == MissingChannels({"FLAIR": 0.3333})
    assert any(reason.startswith("missing channels: ") for reason in drafted.reasons)


@pytest.mark.parametrize(
    ("lacking", "constraints", "said"),
    [
        ([""], PlanConstraints(require=("T1",)), "no training case lacks a channel.*add --missing-channels"),
        ([""], PlanConstraints(missing_channels=True, require=("T2",)), r"no channel 'T2'; name one of T1 \(0\)"),
        ([""], PlanConstraints(missing_channels=True, require=("T1", "FLAIR")), "names every channel"),
        (["", "FLAIR"], PlanConstraints(require=("FLAIR",)), "--require FLAIR: case case_1 lacks it"),
    ],
)
def test_wishes_that_contradict_the_cases_are_refused(
    lacking: list[str], constraints: PlanConstraints, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        planned(lacking, constraints)


def test_a_single_channel_cannot_be_missing() -> None:
    with pytest.raises(UsageError, match="have one channel"):
        cpu.PLANNER.plan(*described([""], ("CT",)), WISHED)


def test_plans_of_before_are_read_and_equal() -> None:
    plan = cpu.PLANNER.plan(*described([""]))
    record = json.loads(json.dumps(to_json(plan)))
    for configuration in record["configurations"].values():
        assert configuration.pop("missing") is None
    assert from_json(Plan, record) == plan


def test_a_plan_that_names_no_channel_is_refused() -> None:
    record = json.loads(json.dumps(to_json(cpu.PLANNER.plan(*described(["FLAIR", ""])))))
    assert from_json(Plan, record).configuration()[1].missing == MissingChannels({"FLAIR": 0.5})
    record["configurations"]["3d_fullres"]["missing"]["rates"] = {"PET": 0.5}
    with pytest.raises(RecordError, match=r"3d_fullres.missing.rates: there is no channel 'PET'; there are T1, FLAIR"):
        from_json(Plan, record)


def test_channels_of_one_name_cannot_be_told_apart() -> None:
    channels = ("T1", "FLAIR", "T1")
    for lacking, constraints in (["FLAIR", "", ""], NO_CONSTRAINTS), ([""] * 3, WISHED):
        with pytest.raises(UsageError, match=r"several are called 'T1': .*channel_names"):
            cpu.PLANNER.plan(*described(lacking, channels), constraints)
    assert cpu.PLANNER.plan(*described([""] * 3, channels)).configuration()[1].missing is None
