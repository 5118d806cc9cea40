"""nnU-Net's plans file read into our plan: the one way in, for the models that are imported and the plans one trains.

Understands the files of nnU-Net v2.0 to 2.8.1: ``architecture`` with its keyword arguments or, before 2.4, one key per
choice; configurations that inherit from others; cascades.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ..core.labels import Labels
from ..errors import RecordError
from ..parts.losses import dice_ce
from ..parts.normalizers import ct, none, rescale, rgb, zscore
from ..parts.optimizers import sgd
from ..parts.resamplers import spline
from ..parts.schedules import polynomial
from ..plan import Configuration, Plan, TrainingRules
from ..planning.planner import augmentation_for
from .nnunet_networks import read_network, typed
from .nnunet_plans import ALWAYS, NEVER, ORIENTATIONS, PLANNERS

LOG = logging.getLogger("autoseg")
PLANNERS_HERE = {theirs: ours for ours, (theirs, _) in PLANNERS.items()}


def read_configurations(plans: Mapping[str, Any], where: str) -> tuple[dict[str, Configuration], dict[str, str]]:
    """Every configuration that has a counterpart here, and for each of the others why it has none.

    ``where`` starts the message of a RecordError, raised when the file is no plans file.
    """
    channels = intensities(plans, where)
    found, refused = {}, {}
    for title in typed(plans, "configurations", where, dict):
        here = f"{where}: configurations.{title}"
        try:
            found[title] = _configuration(resolved(plans, title, where), plans, channels, here)
        except RecordError as error:
            refused[title] = str(error)
    lacking = {
        title: f"{where}: configurations.{title} needs {configuration.previous}, which cannot be read"
        for title, configuration in found.items()
        if configuration.previous is not None and configuration.previous not in found
    }
    return {title: found[title] for title in found if title not in lacking}, refused | lacking


def resolved(plans: Mapping[str, Any], title: str, where: str) -> dict[str, Any]:
    """The configuration with all that it inherits. Raises RecordError for a circle or a parent that is not there."""
    known = typed(plans, "configurations", where, dict)
    line: list[str] = []
    parent: Any = title
    while parent is not None:
        if parent not in known:
            raise RecordError(f"{where}: {title} inherits from {parent!r}; there are {', '.join(known)}")
        if parent in line:
            raise RecordError(f"{where}: {' inherits from '.join((*line, parent))}, a circle")
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
        configurations, refused = _stages(only, configurations, refused)
    for why in refused.values():
        LOG.warning("left out: %s", why)
    if not configurations:
        raise RecordError(f"{where}: no configuration can be used")
    first, second, third = typed(plans, "transpose_forward", where, list)
    return Plan(
        dataset=typed(plans, "dataset_name", where, str),
        planner=PLANNERS_HERE.get(str(plans.get("experiment_planner_used")), "nnunet"),
        axis_order=(first, second, third),
        channels=channels,
        labels=labels,
        file_ending=file_ending,
        mirror_axes=(),
        orientation=ORIENTATIONS.get(str(plans.get("image_reader_writer"))),
        configurations=configurations,
        default=only or ("3d_fullres" if "3d_fullres" in configurations else next(iter(configurations))),
        reasons=(f"plan: read from nnU-Net's {plans.get('plans_name', 'plans file')}",),
    )


def _stages(
    only: str, configurations: dict[str, Configuration], refused: dict[str, str]
) -> tuple[dict[str, Configuration], dict[str, str]]:
    """``only`` and before it the configurations that it needs. Raises RecordError when it is among the ``refused``."""
    wanted: list[str] = []
    title: str | None = only
    while title is not None and title not in wanted:
        if title not in configurations:
            raise RecordError(refused.get(title, f"there is no configuration {title!r} in the plans"))
        wanted.insert(0, title)
        title = configurations[title].previous
    return {name: configurations[name] for name in wanted}, {}


def _configuration(
    settings: Mapping[str, Any], plans: Mapping[str, Any], channels: list[Mapping[str, float]], where: str
) -> Configuration:
    patch = tuple(typed(settings, "patch_size", where, list))
    flat = len(patch) == 2
    median = [*typed(plans, "original_median_shape_after_transp", where, list)[:flat],
              *typed(settings, "median_image_size_in_voxels", where, list)]  # fmt: skip
    z, y, x = (max(1, round(edge)) for edge in median)
    spacing = tuple(map(float, typed(settings, "spacing", where, list)))
    normalizers = _normalizers(settings, channels, where)
    return Configuration(
        spacing=(None, *spacing) if flat else spacing,  # type: ignore[arg-type]
        median_shape=(z, y, x),
        patch_size=patch,
        batch_size=typed(settings, "batch_size", where, int),
        normalizers=normalizers,
        resampler=_resampler(settings, where),
        network=read_network(settings, len(patch), where),
        loss=dice_ce.Spec(batch_dice=typed(settings, "batch_dice", where, bool)),
        augmentation=augmentation_for(patch, normalizers),
        optimizer=sgd.Spec(),
        schedule=polynomial.Spec(),
        training=TrainingRules(epochs=1000),
        previous=settings.get("previous_stage"),
    )


def intensities(plans: Mapping[str, Any], where: str) -> list[Mapping[str, float]]:
    """Foreground statistics, one entry per channel. Raises RecordError."""
    key = "foreground_intensity_properties_per_channel"
    old = "foreground_intensity_properties_by_modality"  # before 2.1
    by_number = typed(plans, key if key in plans or old not in plans else old, where, dict)
    return [by_number[number] for number in sorted(by_number, key=int)]


def _normalizers(settings: Mapping[str, Any], channels: list[Mapping[str, float]], where: str) -> tuple[Any, ...]:
    names = typed(settings, "normalization_schemes", where, list)
    masks = typed(settings, "use_mask_for_norm", where, list)
    if not len(names) == len(masks) == len(channels):
        raise RecordError(
            f"{where}: {len(names)} normalization_schemes and {len(masks)} use_mask_for_norm "
            f"for {len(channels)} channels"
        )
    made: dict[str, Callable[[bool, Mapping[str, float]], Any]] = {
        "CTNormalization": lambda _, measured: ct.Spec(
            *(float(measured[name]) for name in ("mean", "std", "percentile_00_5", "percentile_99_5"))
        ),
        "NoNormalization": lambda *_: none.Spec(),
        "RescaleTo01Normalization": lambda *_: rescale.Spec(),
        "RGBTo01Normalization": lambda *_: rgb.Spec(),
        "ZScoreNormalization": lambda mask, _: zscore.Spec(mask=bool(mask)),
    }
    unknown = [name for name in names if name not in made]
    if unknown:
        raise RecordError(f"{where}: the normalization {unknown[0]!r} is not known; known are {', '.join(made)}")
    return tuple(made[name](mask, measured) for name, mask, measured in zip(names, masks, channels))


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
    ratio = options.pop("separate_z_anisotropy_threshold", spline.Spec.anisotropy)
    ratio = {None: float(ratio), True: ALWAYS, False: NEVER}[forced]
    if function == "resample_data_or_seg_to_shape":
        order, order_z = options.pop("order", 3), options.pop("order_z", 0)
    elif function == "resample_torch_fornnunet":  # the same grids and, with order 1, the same numbers
        order, order_z = 1, 0
        options = {name: value for name, value in options.items() if name not in ("num_threads", "device")}
        linear = options.pop("mode", "linear") == "linear"
        if not linear or options.pop("aniso_axis_mode", "nearest-exact") != "nearest-exact":
            raise RecordError(f"{where}: resampling_fn_{what}_kwargs: only linear and nearest-exact are known")
        options.pop("memefficient_seg_resampling", None)
    else:
        raise RecordError(f"{where}: the resampling {function!r} is not known")
    if options:
        raise RecordError(f"{where}: resampling_fn_{what}_kwargs has the unknown {sorted(options)}")
    return order, order_z, ratio
