"""Modalities of different cases: planned on request only, suggested where each case has one channel, else refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from autoseg.planners import cpu, measured, tiny
from formula import Formula, described

from autoseg.core.fusion import Fusion
from autoseg.core.missing import MissingChannels
from autoseg.core.records import from_json, to_json
from autoseg.data.fingerprint import ChannelFingerprint
from autoseg.errors import UsageError
from autoseg.parts.inputs import presence
from autoseg.parts.networks import unpaired_unet
from autoseg.plan import Plan
from autoseg.planning.constraints import UNPAIRED_UNET, PlanConstraints
from autoseg.planning.memory import elements_per_voxel
from autoseg.planning.target import gpu
from autoseg.planning.unpaired import with_unpaired

CHANNELS = ("CT", "MR")
THERE = ChannelFingerprint(0.0, 1.0, 0.0, 0.5, 1.0, 100, "")
UNPAIRED = PlanConstraints(fusion=Fusion("unpaired", None))
BOTH = frozenset(CHANNELS)


def dataset(
    held: Sequence[frozenset[str] | set[str]], spacing: tuple[float, ...] = (2.0, 0.8, 0.8), shape: Any = (60, 200, 200)
) -> tuple[Any, Any]:
    """A case for each entry of ``held``, which are the channels that it has."""
    made, fingerprint = described(shape, spacing, cases=len(held), channels=2)
    found = {}
    for (key, case), names in zip(fingerprint.cases.items(), held):
        found[key] = replace(case, channels=tuple(THERE if channel in names else None for channel in CHANNELS))
    return replace(made, channels=CHANNELS), replace(fingerprint, cases=found)


ONE_EACH = [{"CT"}] * 6 + [{"MR"}] * 4


def plan(constraints: PlanConstraints, held: Sequence[Any] = ONE_EACH, **of: Any) -> Plan:
    given = dataset(held, **of)
    planned = measured.PLANNER.plan(*given, constraints, Formula(gpu("any", 8e9, 1e12)))
    return with_unpaired(planned, given[1], constraints.part)


@pytest.mark.slow
@pytest.mark.parametrize("of", [{}, {"spacing": (8.0, 0.8, 0.8), "shape": (20, 200, 200)}], ids=["3d", "slices"])
def test_every_configuration_has_the_network_and_is_told_the_modality(of: dict[str, Any]) -> None:
    found = plan(UNPAIRED, **of)
    assert (found.network, found.fusion) == (UNPAIRED_UNET, UNPAIRED.fusion)
    assert len(found.configurations) > 1 and from_json(Plan, to_json(found)) == found
    for name, one in found.configurations.items():
        assert isinstance(one.network, unpaired_unet.Spec)
        assert one.missing == MissingChannels({"CT": 0.0, "MR": 0.0}, exclusive=True)
        assert (presence.Spec() in one.inputs) == (one.slices == 1)
        assert found.task(name).exclusive
        (told,) = (reason for reason in one.reasons if reason.startswith("fusion: "))
        assert "CT, MR share all kernels" in told
    (told,) = (reason for reason in found.reasons if reason.startswith("missing channels: "))
    assert "CT (6 cases), MR (4 cases)" in told and "--fusion" not in told


def test_it_is_counted_as_a_plain_u_net() -> None:
    found, plain = plan(UNPAIRED), plan(PlanConstraints(network="plain_unet"))
    for name, one in found.configurations.items():
        other = plain.configurations[name]
        assert (one.patch_size, one.batch_size) == (other.patch_size, other.batch_size)
        assert elements_per_voxel(found.task(name)) == pytest.approx(elements_per_voxel(plain.task(name)), rel=0.01)


def test_without_being_asked_for_it_is_only_spoken_of() -> None:
    given = dataset(ONE_EACH)
    before = cpu.PLANNER.plan(*given)
    found = with_unpaired(before, given[1], None)
    assert replace(found, reasons=()) == replace(before, reasons=()) and found.fusion is None
    (told,) = (reason for reason in found.reasons if reason.startswith("missing channels: "))
    assert "each case has one of the channels" in told and "--fusion unpaired" in told


@pytest.mark.parametrize("held", [[BOTH] * 5, [{"CT"}] * 3 + [BOTH]])
def test_nothing_is_said_of_cases_with_several_channels_and_it_is_refused_for_them(held: Sequence[Any]) -> None:
    given = dataset(held)
    before = cpu.PLANNER.plan(*given)
    assert with_unpaired(before, given[1], None) == before
    key = f"case_{next(number for number, names in enumerate(held) if names == BOTH)}"
    with pytest.raises(UsageError, match=re.escape(f"--fusion unpaired: case {key} has CT + MR, but each case must")):
        with_unpaired(before, given[1], UNPAIRED_UNET)


def test_images_of_one_channel_have_no_modalities() -> None:
    made, fingerprint = described((60, 200, 200), (2.0, 0.8, 0.8), cases=6)
    with pytest.raises(UsageError, match=r"--fusion unpaired: .*the images have one channel only"):
        measured.PLANNER.plan(made, fingerprint, UNPAIRED, Formula(gpu("any", 8e9, 1e12)))
    before = cpu.PLANNER.plan(made, fingerprint)
    assert with_unpaired(before, fingerprint, None) == before


def test_the_network_can_be_asked_for_by_its_name_too_and_a_draft_remembers() -> None:
    by_name, by_level = plan(PlanConstraints(network=UNPAIRED_UNET)), plan(UNPAIRED)
    assert replace(by_level, fusion=None) == by_name
    draft = measured.PLANNER.draft(*dataset(ONE_EACH), UNPAIRED)
    again = PlanConstraints(network=draft.network, fusion=draft.fusion)
    assert (draft.network, draft.fusion, again.part) == (UNPAIRED_UNET, UNPAIRED.fusion, UNPAIRED_UNET)


def test_what_contradicts_it_is_refused() -> None:
    with pytest.raises(UsageError, match="--fusion unpaired is another network, unpaired_unet: give --fusion or"):
        replace(UNPAIRED, network="plain_unet")
    with pytest.raises(UsageError, match="unpaired_unet is one for several"):
        PlanConstraints(network=UNPAIRED_UNET, fusion=Fusion("decision", None))
    with pytest.raises(UsageError, match="--fusion unpaired: planner tiny plans its own networks only"):
        tiny.PLANNER.plan(*dataset(ONE_EACH), UNPAIRED)
