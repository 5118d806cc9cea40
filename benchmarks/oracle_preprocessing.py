"""Arrays preprocessed by nnU-Net v2, stored for the tests. Run it with a Python that has nnunetv2 2.8.1:

python benchmarks/oracle_preprocessing.py tests/preprocessing [DATA]

Every case: a random image and label map go through ``DefaultPreprocessor.run_case_npy`` (transpose, crop, normalise,
resample). The file holds what went in, what came out and how: the test needs nothing else. With DATA, a folder of
datasets in nnU-Net's raw layout, cases of them are preprocessed as well; of these only a signature is stored, since
images of patients stay where they are.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

CASES = {  # name: (shape, spacing, target spacing, transpose, normalization, mask, seed)
    "isotropic": ((13, 16, 11), (1.0, 1.2, 0.9), (1.1, 0.9, 1.0), (0, 1, 2), "ZScoreNormalization", False, 1),
    "thick_slices": ((7, 20, 18), (5.0, 1.0, 1.0), (3.5, 0.8, 1.3), (0, 1, 2), "ZScoreNormalization", False, 2),
    "thick_slices_last": ((18, 20, 7), (1.0, 1.0, 5.0), (0.8, 1.3, 3.5), (2, 0, 1), "CTNormalization", False, 3),
    "thick_only_in_target": (
        (12, 14, 10),
        (2.0, 1.0, 1.0),
        (4.0, 1.0, 1.0),
        (0, 1, 2),
        "ZScoreNormalization",
        False,
        4,
    ),
    "two_thick_axes": ((9, 12, 21), (5.0, 5.0, 1.0), (4.0, 4.0, 1.2), (0, 1, 2), "NoNormalization", False, 5),
    "masked": ((14, 15, 16), (1.0, 1.0, 1.0), (1.0, 1.3, 0.8), (0, 1, 2), "ZScoreNormalization", True, 6),
    "slices_2d": ((6, 17, 19), (4.0, 1.0, 1.0), (None, 0.7, 1.3), (0, 1, 2), "RescaleTo01Normalization", False, 7),
    "halved": ((10, 16, 12), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (0, 1, 2), "ZScoreNormalization", False, 8),
    "annotated_beyond": ((12, 13, 14), (1.0, 1.0, 1.0), (0.8, 1.3, 1.1), (0, 1, 2), "ZScoreNormalization", True, 9),
}
REAL: dict[str, tuple[str, str, tuple[float, ...], tuple[int, int, int], str, bool]] = {
    # name: (dataset, case, target spacing, transpose, normalization, mask)
    "slices": ("Dataset027_ACDC", "patient002_frame12", (5.0, 1.7, 1.7), (0, 1, 2), "ZScoreNormalization", False),
    "slices_2d": ("Dataset038_CHAOST2SPIR", "chaos_01", (1.5, 1.5), (0, 1, 2), "RescaleTo01Normalization", False),
    "turned": ("Dataset038_CHAOST2SPIR", "chaos_02", (1.5, 1.5, 6.0), (2, 1, 0), "CTNormalization", False),
    "cropped": ("Dataset047_OpenMSLesionMNI", "patient19", (1.3, 1.3, 1.3), (0, 1, 2), "ZScoreNormalization", True),
    "isotropic": (
        "Dataset004_Hippocampus",
        "hippocampus_003",
        (0.8, 0.9, 1.1),
        (0, 1, 2),
        "ZScoreNormalization",
        False,
    ),
}
PROJECTIONS = 16
STATISTICS = {"mean": 20.0, "std": 33.0, "percentile_00_5": -60.0, "percentile_99_5": 90.0}


def make_case(name: str, shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (2, z, y, x) float32 with a zero border, and labels 0..3 inside it; in one case also beyond."""
    random = np.random.default_rng(seed)
    image = random.normal(10, 40, (2, *shape)).astype(np.int16).astype(np.float32)
    labels = random.integers(0, 4, shape).astype(np.uint8)
    inside = np.zeros(shape, bool)
    inside[1:-1, 2:-1, 1:-2] = True
    if name == "annotated_beyond":
        inside[4:8, 5:, 6:9] = False  # a notch, so that what is beyond lies within the crop
        return image * inside, labels
    return image * inside, labels * inside


def manager(
    channels: int, target: tuple[float | None, ...], transpose: tuple[int, ...], normalization: str, mask: bool
) -> Any:
    """nnU-Net's plans with one configuration, called ``it``."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    arguments = {"order_z": 0, "force_separate_z": None}
    function = "resample_data_or_seg_to_shape"
    configuration = {
        "spacing": [value for value in target if value is not None],
        "normalization_schemes": [normalization] * channels,
        "use_mask_for_norm": [mask] * channels,
        "resampling_fn_data": function,
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **arguments},
        "resampling_fn_seg": function,
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **arguments},
        "architecture": {"network_class_name": "unused", "arch_kwargs": {}, "_kw_requires_import": []},
    }
    return PlansManager(
        {
            "transpose_forward": list(transpose),
            "transpose_backward": [transpose.index(axis) for axis in range(3)],
            "foreground_intensity_properties_per_channel": {str(channel): STATISTICS for channel in range(channels)},
            "configurations": {"it": configuration},
            "label_manager": "LabelManager",
            "image_reader_writer": "SimpleITKIO",
        }
    )


def made_up() -> dict[str, np.ndarray]:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    stored = {}
    for name, (shape, spacing, target, transpose, normalization, mask, seed) in CASES.items():
        image, labels = make_case(name, shape, seed)
        plans = manager(2, target, transpose, normalization, mask)
        names = {"background": 0, "one": 1, "two": 2, "three": 3}
        prepared, indices, _ = DefaultPreprocessor(verbose=False).run_case_npy(
            image, labels[None].astype(np.int16), {"spacing": spacing}, plans, plans.get_configuration("it"),
            {"labels": names, "channel_names": {"0": "a", "1": "b"}, "file_ending": ".nii.gz"},
        )  # fmt: skip
        stored |= {
            f"{name}/image": image.astype(np.int16),
            f"{name}/labels": labels,
            f"{name}/spacing": np.array(spacing),
            f"{name}/target": np.array(target, float),  # None becomes nan
            f"{name}/transpose": np.array(transpose),
            f"{name}/normalization": np.array(normalization),
            f"{name}/mask": np.array(mask),
            f"{name}/prepared_image": prepared.astype(np.float32),
            f"{name}/prepared_labels": indices[0].astype(np.int8),
        }
    return stored


def signature(image: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """What two equal cases share: percentiles of every channel, and sums over all voxels with random signs.

    tests/preprocessing/test_prepare.py computes the same.
    """
    flat = image.reshape(len(image), -1).astype(np.float64)
    random = np.random.default_rng(0)
    signs = [random.integers(0, 2, labels.size, dtype=np.int8) * 2 - 1 for _ in range(PROJECTIONS)]
    return {
        "percentiles": np.percentile(flat, np.arange(101), axis=1),
        "image_sums": np.array([flat @ sign for sign in signs]),
        "label_sums": np.array([int(labels.reshape(-1).astype(np.int64) @ sign) for sign in signs]),
    }


def real(data: Path) -> dict[str, np.ndarray]:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    stored = {}
    for name, (dataset, key, target, transpose, normalization, mask) in REAL.items():
        folder = data / dataset
        described = json.loads((folder / "dataset.json").read_text())
        channels = len(described["channel_names"])
        plans = manager(channels, target, transpose, normalization, mask)
        files = [str(folder / "imagesTr" / f"{key}_{channel:04d}.nii.gz") for channel in range(channels)]
        label = str(folder / "labelsTr" / f"{key}.nii.gz")
        prepared, indices, _ = DefaultPreprocessor(verbose=False).run_case(
            files, label, plans, plans.get_configuration("it"), described
        )
        stored |= {
            f"{name}/case": np.array(f"{dataset}/{key}"),
            f"{name}/target": np.array((*(np.nan,) * (3 - len(target)), *target)),
            f"{name}/transpose": np.array(transpose),
            f"{name}/normalization": np.array(normalization),
            f"{name}/mask": np.array(mask),
            f"{name}/shape": np.array(prepared.shape),
            **{f"{name}/{what}": value for what, value in signature(prepared, np.maximum(indices[0], 0)).items()},
        }
    return stored


def main(folder: Path, data: Path | None) -> None:
    np.savez_compressed(folder / "nnunet_preprocessing.npz", **made_up())
    if data is not None:
        np.savez_compressed(folder / "nnunet_preprocessing_real.npz", **real(data))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
