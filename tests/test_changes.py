"""A user's changes to a plan: made where they belong, checked with everything else, refused in words that help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoseg.changes import changed
from autoseg.configuration import Configuration
from autoseg.core.family import Family
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.records import to_json, write_json
from autoseg.data.dataset import Case, Dataset
from autoseg.data.fingerprint import CaseFingerprint, Fingerprint, Intensities
from autoseg.errors import RecordError, UnknownPartError, UsageError
from autoseg.parts.augmentations import none, standard
from autoseg.parts.inputs import prior
from autoseg.parts.losses import top_k
from autoseg.parts.normalizers import zscore
from autoseg.parts.optimizers import adamw
from autoseg.plan import Plan, read_plan

NAME = "3d_fullres"


@pytest.fixture
def two_configurations(small_plan: Plan) -> Plan:
    return replace(small_plan, configurations=small_plan.configurations | {"other": small_plan.configurations[NAME]})


def planned(planner: str) -> Plan:
    """What a planner decides for forty cases of one channel."""
    keys = [f"case_{number}" for number in range(40)]
    cases = tuple(Case.of_files(key, (f"/{key}.nii.gz",), f"/labels/{key}.nii.gz") for key in keys)
    labels = ExclusiveLabels({"background": 0, "organ": 1})
    dataset = Dataset("Dataset001_Made", "/d", ("MRI",), labels, cases, ".nii.gz", "nnunet")
    measured = CaseFingerprint((60, 80, 70), (1.0, 1.0, 1.0), (60, 80, 70), 1.0, "")
    intensities = (Intensities(0.0, 0.0, 1.0, -3.0, 3.0, -2.0, 2.0),)
    found: Plan = (
        Family("autoseg.planners", "PLANNER")
        .load(planner)
        .plan(dataset, Fingerprint(dict.fromkeys(keys, measured), intensities))
    )
    return found


def one(plan: Plan, *changes: str) -> Configuration:
    return changed(plan, changes).configurations[NAME]


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ("batch_size=5", "batch_size", 5),
        ("patch_size=16,24,8", "patch_size", (16, 24, 8)),
        ("patch_size=[16, 24, 8]", "patch_size", (16, 24, 8)),
        ("patch_size.1 = 24", "patch_size", (8, 24, 8)),
        ("spacing=1,2.5,3", "spacing", (1.0, 2.5, 3.0)),
        ('inputs=[{"name": "prior", "previous": "3d_lowres"}]', "inputs", (prior.Spec("3d_lowres"),)),
        ("augmentation=none", "augmentation", none.Spec()),
        ("augmentation.name=standard", "augmentation", standard.Spec()),
        ("normalizers=zscore", "normalizers", (zscore.Spec(),)),
        ("normalizers.0.name=zscore", "normalizers", (zscore.Spec(),)),
    ],
)
def test_a_change_replaces_one_value_and_no_other(small_plan: Plan, change: str, field: str, value: Any) -> None:
    found = one(small_plan, change)
    assert getattr(found, field) == value
    assert replace(small_plan.configurations[NAME], **{field: value, "reasons": found.reasons}) == found


def test_a_dotted_field_lies_inside_a_part_or_record(small_plan: Plan) -> None:
    found = one(small_plan, "training.epochs=250", "optimizer.learning_rate=5e-3", "loss.batch_dice=true")
    assert (found.training.epochs, found.optimizer.learning_rate, found.loss.batch_dice) == (250, 0.005, True)


def test_another_part_keeps_the_values_it_shares_with_the_old_one(small_plan: Plan) -> None:
    first = changed(small_plan, ["augmentation=standard", "augmentation.rotation_degrees=15"])
    assert one(first, "augmentation=standard").augmentation == standard.Spec(rotation_degrees=15.0)


def test_another_part_has_its_own_defaults_where_the_old_one_had_its(small_plan: Plan) -> None:
    assert one(small_plan, "optimizer=adamw").optimizer == adamw.Spec()
    assert one(small_plan, "loss.batch_dice=true", "loss=top_k").loss == top_k.Spec(batch_dice=True)


def test_changes_that_belong_together_are_checked_together(small_plan: Plan) -> None:
    words = ("features=[4,8,16]", "kernels=[[3,3,3],[3,3,3],[3,3,3]]", "strides=[[1,1,1],[2,2,2],[1,2,2]]")
    blocks = ("blocks_encoder=1,1,1", "blocks_decoder=1,1")
    found = one(small_plan, *(f"network.{word}" for word in (*words, *blocks)), "patch_size=6,12,8")
    assert found.network.divisor == (2, 4, 4)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value of a plan's JSON form, with its dotted field."""
    if isinstance(value, dict | list):
        steps = value.items() if isinstance(value, dict) else enumerate(value)
        for step, inner in steps:
            yield from leaves(inner, f"{path}.{step}" if path else str(step))
    else:
        yield path, value


@pytest.mark.parametrize("planner", ["plain_unet", "residual_m", "cpu"])
def test_every_value_of_a_planned_configuration_can_be_set(planner: str) -> None:
    plan = planned(planner)
    record = to_json(plan.configurations[NAME])
    fields = [(path, value) for path, value in leaves(record) if path.split(".")[0] not in ("reasons", "cost")]
    assert len(fields) > 80
    for path, value in fields:
        if isinstance(value, bool):
            other: Any = not value
        elif isinstance(value, float):
            other = value * 0.9375  # a range stays a range, a probability one
        else:
            other = value  # a number of voxels or stages hangs together with others
        text = other if isinstance(other, str) else json.dumps(other)
        found = to_json(one(plan, f"{NAME}.{path}={text}"))
        assert dict(leaves(found))[path] == other, path
        assert found["reasons"][-1] == f"by hand: {path} = {text}"


def test_a_configuration_named_in_front_is_the_only_one_changed(two_configurations: Plan) -> None:
    found = changed(two_configurations, ["other.batch_size=7"])
    assert [configuration.batch_size for configuration in found.configurations.values()] == [2, 7]


def test_the_name_of_a_configuration_may_hold_a_dot(small_plan: Plan) -> None:
    plan = replace(small_plan, configurations=small_plan.configurations | {"2.5d": small_plan.configurations[NAME]})
    found = changed(plan, ["2.5d.optimizer.momentum=0.5"])
    momenta = [configuration.optimizer.momentum for configuration in found.configurations.values()]
    assert momenta == [small_plan.configurations[NAME].optimizer.momentum, 0.5]


def test_without_a_name_all_configurations_change(two_configurations: Plan) -> None:
    found = changed(two_configurations, ["batch_size=7"])
    assert [configuration.batch_size for configuration in found.configurations.values()] == [7, 7]


def test_a_patch_without_a_name_is_for_configurations_of_its_dimensions(small_plan: Plan) -> None:
    solid = small_plan.configurations[NAME]
    network = replace(solid.network, kernels=((3, 3),) * 2, strides=((1, 1), (2, 2)))
    flat = replace(solid, patch_size=(8, 8), spacing=(None, 2.0, 2.0), network=network)
    plan = replace(small_plan, configurations={NAME: solid, "2d": flat})
    found = changed(plan, ["patch_size=16,16,16", "patch_size=24,24"]).configurations
    assert (found[NAME].patch_size, found["2d"].patch_size) == ((16, 16, 16), (24, 24))
    with pytest.raises(RecordError, match="patch_size"):
        changed(plan, ["patch_size=16"])


@pytest.mark.parametrize(("text", "axes"), [("1,2", (1, 2)), ("1", (1,)), ("", ()), ("[0, 1]", (0, 1))])
def test_a_field_of_the_plan_itself(small_plan: Plan, text: str, axes: tuple[int, ...]) -> None:
    assert changed(small_plan, [f"mirror_axes={text}"]) == replace(small_plan, mirror_axes=axes)


def test_the_plan_says_what_was_changed_by_hand(small_plan: Plan) -> None:
    assert one(small_plan, "training.epochs=9").reasons == ("by hand: training.epochs = 9",)


def test_no_change_is_the_same_plan(small_plan: Plan) -> None:
    assert changed(small_plan, []) is small_plan


@pytest.mark.parametrize(
    ("change", "meant"),
    [
        ("batch_sise=3", "batch_size"),
        ("optimizer.learning_rat=1", "learning_rate"),
        ("trainin.epochs=3", "training"),
        ("mirror_axis=1", "mirror_axes"),
        ("normalizers.3.mask=true", "Known are 0"),
        ("batch_size.x=3", "single value"),
        ("missing.rates.MR=0.3", "3d_fullres.missing is null, it has no field 'rates'"),
        ("filters.0=median", "3d_fullres.filters is empty, it has no field '0'"),
        ("labels.names.organ=3", "Known are"),
        ("reasons=x", "Known are"),
        ("4d.batch_size=3", f"{NAME}.FIELD"),
        ("batch_size", "FIELD=VALUE"),
        ("=3", "FIELD=VALUE"),
    ],
)
def test_an_unknown_field_is_told_with_those_there_are(small_plan: Plan, change: str, meant: str) -> None:
    with pytest.raises(UsageError, match=meant):
        changed(small_plan, [change])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("batch_size=0", "3d_fullres: batch_size must be at least 1"),
        ("batch_size=many", "3d_fullres.batch_size: expected int, found 'many'"),
        ("batch_size=2.5", "batch_size: expected int"),
        ("spacing=0,1,1", "spacing must be above 0, found 0"),
        ("spacing=1,1", "spacing: expected 3 entries, found 2"),
        ("patch_size=8,8", "patch_size has 2 entries, but the network has 3 dimensions"),
        ("network.features=4,8,16", "3d_fullres.network: 3 stages need 3 kernels"),
        ("network.kernels=[[3,3,3]]", "3d_fullres.network: 2 stages need 2 kernels"),
        ("normalizers=none,none", "3d_fullres.normalizers: 2 entries for 1 channels"),
        ("training.epochs=0", "3d_fullres.training: epochs must be at least 1, found 0"),
        ("mirror_axes=0,5", "mirror_axes must be some of 0, 1, 2"),
        ("default=2d", "'2d' is not among"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_field(small_plan: Plan, change: str, said: str) -> None:
    with pytest.raises(RecordError, match=said):
        changed(small_plan, [change])


@pytest.mark.parametrize(
    "change", ["network=residual_unet", "network.name=residual_unet", f"{NAME}.network=residual_unet",
               'network={"name": "residual_unet", "features": [4, 8]}'],
)  # fmt: skip
def test_another_network_would_leave_what_was_planned_for_the_one_before(small_plan: Plan, change: str) -> None:
    with pytest.raises(UsageError, match="autoseg plan Dataset900_Small --network residual_unet"):
        changed(small_plan, [change])


def test_the_same_network_by_its_name_is_no_other(small_plan: Plan) -> None:
    assert one(small_plan, "network=plain_unet").network == small_plan.configurations[NAME].network


def test_an_unknown_part_is_told_with_those_there_are(small_plan: Plan) -> None:
    with pytest.raises(UnknownPartError, match="dice_ce"):
        changed(small_plan, ["loss.name=dyce"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(*[st.integers(1, 40)] * 3))
def test_a_patch_fits_the_strides_or_is_refused_with_patches_that_do(small_plan: Plan, patch: tuple[int, ...]) -> None:
    wanted = ",".join(map(str, patch))
    if not any(edge % 2 for edge in patch):
        assert one(small_plan, f"patch_size={wanted}").patch_size == patch
        return
    with pytest.raises(RecordError, match=f"patch_size {wanted} must be a multiple of 2,2,2") as refused:
        one(small_plan, f"patch_size={wanted}")
    for neighbour in str(refused.value).split("fit are ")[1].split(" or "):
        found = one(small_plan, f"patch_size={neighbour}").patch_size
        assert all(abs(edge - asked) < 2 for edge, asked in zip(found, patch))


def test_a_hand_edited_file_is_refused_with_the_same_sentence(small_plan: Plan, tmp_path: Path) -> None:
    record = json.loads(json.dumps(to_json(small_plan)))
    record["configurations"][NAME]["patch_size"] = [8, 9, 8]
    write_json(tmp_path / "plan.json", record)
    with pytest.raises(RecordError, match="patch_size 8,9,8 must be a multiple of 2,2,2") as of_the_file:
        read_plan(tmp_path / "plan.json")
    with pytest.raises(RecordError) as of_the_change:
        changed(small_plan, ["patch_size=8,9,8"])
    assert str(of_the_file.value).split(": ")[1:] == str(of_the_change.value).split(": ")[1:]
