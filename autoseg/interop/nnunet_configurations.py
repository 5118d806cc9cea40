"""nnU-Net's plans file read into our plan: the one way in, for the models that are imported and the plans one trains.

Understands the files of nnU-Net v2.0 to 2.8.1: ``architecture`` with its keyword arguments or, before 2.4, one key per
choice; configurations that inherit from others; cascades.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from ..configuration import Configuration, TrainingRules
from ..core.geometry import LARGEST_SPACING, SMALLEST_SPACING
from ..core.labels import Labels
from ..core.names import path_name, short
from ..errors import RecordError
from ..parts.inputs import prior
from ..parts.losses import dice_ce
from ..parts.normalizers import ct, none, rescale, rgb, zscore
from ..parts.optimizers import sgd
from ..parts.resamplers import spline
from ..parts.schedules import polynomial
from ..plan import Plan
from ..planning.planner import augmentation_for
from .nnunet_json import LARGEST_EDGE, number, numbers, objects, said, typed, whole
from .nnunet_networks import read_network
from .nnunet_plans import ALWAYS, NEVER, ORIENTATIONS, PLANNERS

LOG = logging.getLogger("autoseg")
PLANNERS_HERE = {theirs: ours for ours, (theirs, _) in PLANNERS.items()}
MOST_CONFIGURATIONS, MOST_SETTINGS = 100, 100  # a file of nnU-Net has 5 with 25 settings each
MOST_LISTED = 10  # of those left out
MOST_VOXELS, MOST_IN_BATCH = 2**30, 2**20
LARGEST_INTENSITY = 1e30  # float32 ends at 3e38


def read_configurations(plans: Mapping[str, Any], where: str) -> tuple[dict[str, Configuration], dict[str, str]]:
    """Every configuration that has a counterpart here, and for each of the others why it has none.

    ``where`` starts the message of a RecordError, raised when the file is no plans file.
    """
    channels = intensities(plans, where)
    found, refused = {}, {}
    for title in _known(plans, where):
        here = f"{where}: configurations.{title}"
        try:
            found[title] = _configuration(resolved(plans, title, where), plans, channels, here)
        except RecordError as error:
            refused[title] = str(error)
        except (TypeError, ValueError) as error:  # what the records of a plan refuse
            refused[title] = f"{here}: {error}"
    lacking = {
        title: f"{where}: configurations.{title} needs {configuration.previous}, which cannot be read"
        for title, configuration in found.items()
        if configuration.previous is not None and configuration.previous not in found
    }
    return {title: found[title] for title in found if title not in lacking}, refused | lacking


def _known(plans: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """All configurations as they stand there. Raises RecordError, also for a name that leads elsewhere."""
    known = objects(plans, "configurations", where)
    if len(known) > MOST_CONFIGURATIONS or max(map(len, known.values()), default=0) > MOST_SETTINGS:
        raise RecordError(
            f"{where}: there are more than {MOST_CONFIGURATIONS} configurations, or one with more than {MOST_SETTINGS} "
            "settings; is it a plans file?"
        )
    try:
        for title in known:
            path_name(title, "configuration")
    except ValueError as error:
        raise RecordError(f"{where}: configurations: {error}") from None
    return known


def resolved(plans: Mapping[str, Any], title: str, where: str) -> dict[str, Any]:
    """The configuration with all that it inherits. Raises RecordError for a circle or a parent that is not there."""
    known = _known(plans, where)
    line: list[str] = []
    parent: Any = title
    while parent is not None:
        if not isinstance(parent, str) or parent not in known:
            there = short(", ".join(known), 300)
            raise RecordError(f"{where}: {title} inherits from {said(parent)}; there are {there}")
        if parent in line:
            circle = short(" inherits from ".join((*line, parent)), 300)
            raise RecordError(f"{where}: {circle}, a circle")
        line.append(parent)
        parent = known[parent].get("inherits_from")
    settings: dict[str, Any] = {}
    for name in reversed(line):
        settings |= known[name]
    return settings


def read_plan_of(
    plans: Mapping[str, Any],
    channels: tuple[str, ...],
    labels: Labels,
    file_ending: str,
    where: str,
    only: str | None = None,
) -> Plan:
    """The plan with every configuration that has a counterpart; the others are named in a warning.

    ``only`` leaves out all but this one and the earlier stages it needs. Which axes are mirrored is not said in a plans
    file, so none are. Raises RecordError when no configuration is left.
    """
    configurations, refused = read_configurations(plans, where)
    if only is not None:
        configurations, refused = _stages(only, configurations, refused, where)
    for why in list(refused.values())[:MOST_LISTED]:
        LOG.warning("left out: %s", why)
    if len(refused) > MOST_LISTED:
        LOG.warning("left out: %d more of %s", len(refused) - MOST_LISTED, where)
    if not configurations:
        raise RecordError(f"{where}: no configuration can be used")
    try:
        return Plan(
            dataset=path_name(typed(plans, "dataset_name", where, str), "dataset_name"),
            planner=PLANNERS_HERE.get(_word(plans, "experiment_planner_used"), "nnunet"),
            axis_order=_axis_order(plans, where),
            channels=channels,
            labels=labels,
            file_ending=file_ending,
            mirror_axes=(),
            orientation=ORIENTATIONS.get(_word(plans, "image_reader_writer")),
            configurations=configurations,
            default=only or ("3d_fullres" if "3d_fullres" in configurations else next(iter(configurations))),
            reasons=(f"plan: read from nnU-Net's {_word(plans, 'plans_name') or 'plans file'}",),
        )
    except (TypeError, ValueError) as error:  # what a plan refuses
        raise RecordError(f"{where}: {error}") from None


def _word(plans: Mapping[str, Any], key: str) -> str:
    """What stands there, if it is a word that can be shown."""
    value = plans.get(key)
    return short(value) if isinstance(value, str) and value.isprintable() else ""


def _axis_order(plans: Mapping[str, Any], where: str) -> tuple[int, int, int]:
    order = typed(plans, "transpose_forward", where, list)
    if not all(type(axis) is int for axis in order) or sorted(order) != [0, 1, 2]:
        raise RecordError(f"{where}: transpose_forward must name the axes 0, 1 and 2 once, found {said(order)}")
    first, second, third = order
    return first, second, third


def _stages(
    only: str, configurations: dict[str, Configuration], refused: dict[str, str], where: str
) -> tuple[dict[str, Configuration], dict[str, str]]:
    """``only`` and before it the configurations that it needs. Raises RecordError when it is among the ``refused``."""
    wanted: list[str] = []
    title: str | None = only
    while title is not None and title not in wanted:
        if title not in configurations:
            raise RecordError(refused.get(title, f"{where}: there is no configuration {said(title)}"))
        wanted.insert(0, title)
        title = configurations[title].previous
    return {name: configurations[name] for name in wanted}, {}


def _configuration(
    settings: Mapping[str, Any], plans: Mapping[str, Any], channels: list[Mapping[str, float]], where: str
) -> Configuration:
    patch = _patch(settings, where)
    flat = len(patch) == 2
    edges = (0, LARGEST_EDGE)
    median = [*numbers(plans, "original_median_shape_after_transp", where, (3,), *edges)[:flat],
              *numbers(settings, "median_image_size_in_voxels", where, (len(patch),), *edges)]  # fmt: skip
    z, y, x = (max(1, round(edge)) for edge in median)
    spacing = tuple(map(float, numbers(settings, "spacing", where, (len(patch),), SMALLEST_SPACING, LARGEST_SPACING)))
    normalizers = _normalizers(settings, channels, where)
    return Configuration(
        spacing=(None, *spacing) if flat else spacing,  # type: ignore[arg-type]
        median_shape=(z, y, x),
        patch_size=patch,
        batch_size=whole(typed(settings, "batch_size", where, int), f"{where}: batch_size", 1, MOST_IN_BATCH),
        normalizers=normalizers,
        resampler=_resampler(settings, where),
        network=read_network(settings, len(patch), where),
        loss=dice_ce.Spec(batch_dice=typed(settings, "batch_dice", where, bool)),
        augmentation=augmentation_for(patch, normalizers),
        optimizer=sgd.Spec(),
        schedule=polynomial.Spec(),
        training=TrainingRules(epochs=1000),
        inputs=()
        if settings.get("previous_stage") is None
        else (prior.Spec(typed(settings, "previous_stage", where, str)),),
    )


def _patch(settings: Mapping[str, Any], where: str) -> tuple[int, ...]:
    listed = typed(settings, "patch_size", where, list)
    if len(listed) not in (2, 3):
        raise RecordError(f"{where}: patch_size must have 2 or 3 entries, found {len(listed)}")
    patch = tuple(whole(edge, f"{where}: patch_size", 1, LARGEST_EDGE) for edge in listed)
    if prod(patch) > MOST_VOXELS:
        raise RecordError(f"{where}: a patch_size of {patch} is more than {MOST_VOXELS} voxels")
    return patch


def intensities(plans: Mapping[str, Any], where: str) -> list[Mapping[str, float]]:
    """Foreground statistics, one entry per channel. Raises RecordError."""
    key = "foreground_intensity_properties_per_channel"
    old = "foreground_intensity_properties_by_modality"  # before 2.1
    key = key if key in plans or old not in plans else old
    by_number = objects(plans, key, where)
    count = len(by_number)
    if not set(by_number) == {str(channel) for channel in range(count)}:
        raise RecordError(f"{where}: {key} must be numbered 0 to {count - 1}, found {said(list(by_number))}")
    return [by_number[str(channel)] for channel in range(count)]


def _normalizers(settings: Mapping[str, Any], channels: list[Mapping[str, float]], where: str) -> tuple[Any, ...]:
    names = typed(settings, "normalization_schemes", where, list)
    masks = typed(settings, "use_mask_for_norm", where, list)
    if not len(names) == len(masks) == len(channels):
        raise RecordError(
            f"{where}: {len(names)} normalization_schemes and {len(masks)} use_mask_for_norm "
            f"for {len(channels)} channels"
        )
    made: dict[str, Callable[[bool, Mapping[str, float]], Any]] = {
        "CTNormalization": lambda _, measured: _ct(measured, where),
        "NoNormalization": lambda *_: none.Spec(),
        "RescaleTo01Normalization": lambda *_: rescale.Spec(),
        "RGBTo01Normalization": lambda *_: rgb.Spec(),
        "ZScoreNormalization": lambda mask, _: zscore.Spec(mask=bool(mask)),
    }
    unknown = [name for name in names if not isinstance(name, str) or name not in made]
    if unknown:
        raise RecordError(f"{where}: the normalization {said(unknown[0])} is not known; known are {', '.join(made)}")
    odd = [mask for mask in masks if mask not in (False, True) or not isinstance(mask, int)]
    if odd:
        raise RecordError(f"{where}: use_mask_for_norm must be true or false, found {said(odd[0])}")
    return tuple(made[name](mask, measured) for name, mask, measured in zip(names, masks, channels))


def _ct(measured: Mapping[str, Any], where: str) -> ct.Spec:
    names = ("mean", "std", "percentile_00_5", "percentile_99_5")
    most = LARGEST_INTENSITY
    return ct.Spec(*(float(number(measured.get(name), f"{where}: {name} of a channel", -most, most)) for name in names))


def _resampler(settings: Mapping[str, Any], where: str) -> spline.Spec:
    """One resampler for images, labels and logits."""
    read = {what: _resampling(settings, what, where) for what in ("data", "seg", "probabilities")}
    alone = {(ratio, order_z) for _, order_z, ratio in read.values()}
    if len(alone) > 1:
        raise RecordError(f"{where}: images, labels and probabilities treat thick slices differently: {sorted(alone)}")
    ratio, order_z = alone.pop()
    orders = {what: order for what, (order, _, _) in read.items()}
    return spline.Spec(orders["data"], orders["seg"], orders["probabilities"], order_z, ratio)


def _resampling(settings: Mapping[str, Any], what: str, where: str) -> tuple[int, int, float]:
    """Order, order along a separate axis, and the ratio of spacings above which an axis is separate."""
    function = typed(settings, f"resampling_fn_{what}", where, str)
    options = dict(typed(settings, f"resampling_fn_{what}_kwargs", where, dict))
    options.pop("is_seg", None)
    forced = options.pop("force_separate_z", None)
    threshold = options.pop("separate_z_anisotropy_threshold", spline.Spec.anisotropy)
    here = f"{where}: resampling_fn_{what}_kwargs"
    ratio = float(number(threshold, f"{here}: separate_z_anisotropy_threshold", 0, NEVER))
    if forced is not None:
        ratio = ALWAYS if typed({"force_separate_z": forced}, "force_separate_z", here, bool) else NEVER
    if function == "resample_data_or_seg_to_shape":
        order, order_z = options.pop("order", 3), options.pop("order_z", 0)
    elif function == "resample_torch_fornnunet":  # the same grids and, with order 1, the same numbers
        order, order_z = 1, 0
        options = {name: value for name, value in options.items() if name not in ("num_threads", "device")}
        linear = options.pop("mode", "linear") == "linear"
        if not linear or options.pop("aniso_axis_mode", "nearest-exact") != "nearest-exact":
            raise RecordError(f"{here}: only linear and nearest-exact are known")
        options.pop("memefficient_seg_resampling", None)
    else:
        raise RecordError(f"{where}: the resampling {said(function)} is not known")
    if options:
        raise RecordError(f"{here} has the unknown {said(sorted(options))}")
    return whole(order, f"{here}: order", 0, 5), whole(order_z, f"{here}: order_z", 0, 5), ratio
