"""nnU-Net's planning files: its dataset_fingerprint.json in, its nnUNetPlans.json out (nnU-Net v2 2.8.1)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..configuration import INPUTS, NETWORKS, NORMALIZERS, Configuration
from ..core.geometry import LARGEST_SPACING, SMALLEST_SPACING
from ..core.records import read_json, to_json
from ..data import dataset_json
from ..data.dataset import Case, Dataset
from ..data.fingerprint import CaseFingerprint, Fingerprint, Intensities
from ..errors import RecordError
from ..parts.resamplers import spline
from ..plan import Plan
from ..planning import rules
from ..preprocessing.filtering import names_of_filters
from .nnunet_json import LARGEST, LARGEST_EDGE, file_ending, refuse_large, said

LOG = logging.getLogger("autoseg")
LARGEST_FINGERPRINT = 12 << 20  # bytes; 100 000 cases
PLANNERS = {  # ours to nnU-Net's class and the name of the plans that it writes
    "plain_unet": ("ExperimentPlanner", "nnUNetPlans"),
    "residual_m": ("nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans"),
    "residual_l": ("nnUNetPlannerResEncL", "nnUNetResEncUNetLPlans"),
    "residual_xl": ("nnUNetPlannerResEncXL", "nnUNetResEncUNetXLPlans"),
}
NORMALIZATIONS = {
    "ct": "CTNormalization",
    "none": "NoNormalization",
    "rescale": "RescaleTo01Normalization",
    "rgb": "RGBTo01Normalization",
    "zscore": "ZScoreNormalization",
}
ARCHITECTURES = {  # ours to nnU-Net's class and its word for blocks_encoder
    "plain_unet": ("dynamic_network_architectures.architectures.unet.PlainConvUNet", "n_conv_per_stage"),
    "residual_unet": ("dynamic_network_architectures.architectures.unet.ResidualEncoderUNet", "n_blocks_per_stage"),
}
ALWAYS, NEVER = 0.0, 1e9  # ratios of spacings above which slices stand alone: nnU-Net's force_separate_z
READERS = {".nii": "NibabelIO", ".tif": "Tiff3DIO", ".tiff": "Tiff3DIO"}  # any other file in 3-D: SimpleITKIO
ORIENTATIONS = {"NibabelIOWithReorient": "RAS", "SimpleITKIOWithReorient": "RAS"}  # what a reader turns images to
FLAT_READERS = {ending: "NaturalImage2DIO" for ending in (".png", ".bmp", ".tif")}


@dataclass(frozen=True)
class _Measured:
    """dataset_fingerprint.json, field by field; axes are (z, y, x)."""

    spacings: tuple[tuple[float, float, float], ...]
    shapes_after_crop: tuple[tuple[int, int, int], ...]
    median_relative_size_after_cropping: float
    foreground_intensity_properties_per_channel: dict[str, Intensities]

    def __post_init__(self) -> None:
        if not 1 <= len(self.spacings) == len(self.shapes_after_crop):
            raise ValueError(f"{len(self.spacings)} spacings for {len(self.shapes_after_crop)} shapes_after_crop")
        for name, sizes, least, most in (
            ("spacings", self.spacings, SMALLEST_SPACING, LARGEST_SPACING),
            ("shapes_after_crop", self.shapes_after_crop, 1, LARGEST_EDGE),
        ):
            odd = next((size for size in sizes if not least <= min(size) <= max(size) <= most), None)
            if odd is not None:
                raise ValueError(f"{name} must lie in {least:g}..{most:g}, found {odd}")
        if not 0 < self.median_relative_size_after_cropping <= 1:
            raise ValueError(
                "median_relative_size_after_cropping must be above 0 and at most 1, found "
                f"{self.median_relative_size_after_cropping}"
            )


def read_fingerprint(path: Path, description: Path) -> tuple[Dataset, Fingerprint]:
    """nnU-Net's ``dataset_fingerprint.json`` and the ``dataset.json`` beside its images, as far as planning needs them.

    The cases have made-up keys and no files. Raises RecordError or DatasetError naming the file and the field.
    """
    refuse_large(path, LARGEST_FINGERPRINT)
    refuse_large(description, LARGEST)
    measured, described = read_json(path, _Measured), dataset_json.read(description)
    channels = dataset_json.channels_of(described, description)
    intensities = measured.foreground_intensity_properties_per_channel
    if sorted(intensities) != sorted(str(number) for number in range(len(channels))):
        raise RecordError(
            f"{path}: foreground_intensity_properties_per_channel has the channels {said(sorted(intensities))}, but "
            f"{description} names {len(channels)}; are the two files of the same dataset?"
        )
    announced = described.get("numTraining")
    if announced != len(measured.spacings):
        LOG.warning(
            "%s: numTraining is %s; %d cases were measured", description, said(announced), len(measured.spacings)
        )
    # nnU-Net keeps the median share only: as every case's share it has the same median
    share = measured.median_relative_size_after_cropping
    cases = {
        f"case_{number}": CaseFingerprint(shape, spacing, shape, share, content="")
        for number, (shape, spacing) in enumerate(zip(measured.shapes_after_crop, measured.spacings))
    }
    folder = description.absolute().parent
    dataset = Dataset(
        name=folder.name,
        folder=str(folder),
        channels=channels,
        labels=dataset_json.labels_of(described, description),
        cases=tuple(Case(key, ()) for key in cases),
        file_ending=file_ending(described, description),
        layout="nnunet",
    )
    return dataset, Fingerprint(cases, tuple(intensities[str(number)] for number in range(len(channels))))


def nnunet_plans(plan: Plan, fingerprint: Fingerprint) -> dict[str, Any]:
    """The content of nnUNetPlans.json that stands for ``plan``; ``fingerprint`` is the one it was made from.

    Configurations that see several slices, or some channels only, are left out. Raises RecordError for parts that
    nnU-Net has not.
    """
    order = list(plan.axis_order)
    for title, configuration in plan.configurations.items():
        if configuration.slices > 1:
            LOG.warning("%s is left out: nnU-Net's networks see one slice", title)
        if configuration.channels is not None:
            LOG.warning("%s is left out: nnU-Net's networks see all channels", title)
    planner, name = PLANNERS.get(plan.planner, (f"autoseg_{plan.planner}", f"autoseg_{plan.planner}"))
    configurations = {
        title: _configuration(title, configuration, plan, fingerprint, name)
        for title, configuration in plan.configurations.items()
        if configuration.slices == 1 and configuration.channels is None
    }
    for title, configuration in plan.configurations.items():
        if configuration.previous in configurations:
            configurations[configuration.previous]["next_stage"] = title
    return {
        "dataset_name": plan.dataset,
        "plans_name": name,
        "original_median_spacing_after_transp": np.median(fingerprint.spacings, axis=0)[order].tolist(),
        "original_median_shape_after_transp": _whole(np.median(fingerprint.shapes, axis=0)[order]),
        "image_reader_writer": _reader(plan),
        "transpose_forward": order,
        "transpose_backward": [order.index(axis) for axis in range(3)],
        "configurations": configurations,
        "experiment_planner_used": planner,
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(number): to_json(intensities) for number, intensities in enumerate(fingerprint.intensities)
        },
    }


def _reader(plan: Plan) -> str:
    if plan.orientation is not None:
        turning = "NibabelIOWithReorient" if plan.file_ending in (".nii", ".nii.gz") else "SimpleITKIOWithReorient"
        if ORIENTATIONS[turning] != plan.orientation:
            raise RecordError(f"nnU-Net turns images to {ORIENTATIONS[turning]} only, not to {plan.orientation}")
        return turning
    solid = any(configuration.dimensions == 3 for configuration in plan.configurations.values())
    return (READERS if solid else READERS | FLAT_READERS).get(plan.file_ending, "SimpleITKIO")


def _configuration(
    title: str, configuration: Configuration, plan: Plan, fingerprint: Fingerprint, name: str
) -> dict[str, Any]:
    if filters := names_of_filters(configuration, plan.channels):
        raise RecordError(f"nnU-Net has no counterpart of filters, and the plan has some: {filters}")
    for part in configuration.inputs:
        _known(INPUTS.name_of(part), {"prior": "previous_stage"})
    if configuration.previous is not None and _as_3d_fullres(configuration, plan):
        return {"inherits_from": "3d_fullres", "previous_stage": configuration.previous}
    normalizers = [_known(NORMALIZERS.name_of(part), NORMALIZATIONS) for part in configuration.normalizers]
    masks = [part.mask for part in configuration.normalizers]
    # the residual presets use the images that the plain planner prepares, where their spacing is the same
    shared = name in {plans for _, plans in PLANNERS.values()} and title in ("2d", "3d_fullres")
    return {
        "data_identifier": f"{'nnUNetPlans' if shared else name}_{title}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": configuration.batch_size,
        "patch_size": list(configuration.patch_size),
        "median_image_size_in_voxels": _median_shape(title, configuration, plan, fingerprint),
        "spacing": list(configuration.spacing[-configuration.dimensions :]),
        "normalization_schemes": normalizers,
        "use_mask_for_norm": masks,
        **_resampling(configuration.resampler),
        "architecture": _architecture(configuration.network),
        "batch_dice": getattr(configuration.loss, "batch_dice", False),
        **({} if configuration.previous is None else {"previous_stage": configuration.previous}),
    }


def _as_3d_fullres(configuration: Configuration, plan: Plan) -> bool:
    full = plan.configurations.get("3d_fullres")
    return full is not None and replace(full, inputs=configuration.inputs, reasons=()) == replace(
        configuration, reasons=()
    )


def _median_shape(title: str, configuration: Configuration, plan: Plan, fingerprint: Fingerprint) -> Sequence[float]:
    """Voxels; nnU-Net writes the halves of a median between two cases, except for 3d_lowres."""
    if title != "3d_lowres" or "3d_fullres" not in plan.configurations:
        median: list[float] = _median_at(configuration.spacing, plan, fingerprint).tolist()
        return median[-configuration.dimensions :]
    full = plan.configurations["3d_fullres"].spacing
    zoom = np.array(full, float) / np.array(configuration.spacing, float)
    return _whole(zoom * _median_at(full, plan, fingerprint))


def _median_at(spacing: tuple[float | None, ...], plan: Plan, fingerprint: Fingerprint) -> np.ndarray:
    """In network axes, as is ``spacing``; an axis of spacing None means nothing."""
    in_file = [1.0, 1.0, 1.0]
    for axis, value in zip(plan.axis_order, spacing):
        in_file[axis] = value or 1.0
    return rules.median_shape(fingerprint, in_file)[list(plan.axis_order)]


def _resampling(resampler: Any) -> dict[str, Any]:
    if not isinstance(resampler, spline.Spec):
        raise RecordError(f"nnU-Net has no counterpart of the resampler {type(resampler).__module__}")
    ratio = resampler.anisotropy
    separate: dict[str, Any] = {"force_separate_z": {ALWAYS: True, NEVER: False}.get(ratio)}
    if separate["force_separate_z"] is None and ratio != spline.Spec.anisotropy:
        separate["separate_z_anisotropy_threshold"] = ratio
    orders = {"data": resampler.order, "seg": resampler.order_labels, "probabilities": resampler.order_logits}
    written: dict[str, Any] = {}
    for what, order in orders.items():
        written[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        written[f"resampling_fn_{what}_kwargs"] = {
            "is_seg": what == "seg",
            "order": order,
            "order_z": resampler.order_z,
            **separate,
        }
    return written


def _architecture(network: Any) -> dict[str, Any]:
    network_class, blocks = _known(NETWORKS.name_of(network), ARCHITECTURES)
    dimensions = network.dimensions
    return {
        "network_class_name": network_class,
        "arch_kwargs": {
            "n_stages": len(network.features),
            "features_per_stage": list(network.features),
            "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
            "kernel_sizes": [list(kernel) for kernel in network.kernels],
            "strides": [list(stride) for stride in network.strides],
            blocks: list(network.blocks_encoder),
            "n_conv_per_stage_decoder": list(network.blocks_decoder[::-1]),  # there, the coarsest stage comes first
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def _known(name: str, table: dict[str, Any]) -> Any:
    if name not in table:
        raise RecordError(f"nnU-Net has no counterpart of {name!r}; it knows {', '.join(table)}")
    return table[name]


def _whole(shape: np.ndarray) -> list[int]:
    return [round(edge) for edge in shape.tolist()]
