"""Small arrays preprocessed by nnU-Net v2, stored for the tests. Run it with a Python that has nnunetv2 2.8.1:

python benchmarks/oracle_preprocessing.py tests/preprocessing/nnunet_preprocessing.npz

Every case: a random image and label map go through ``DefaultPreprocessor.run_case_npy`` (transpose, crop, normalise,
resample). The file holds what went in, what came out and how: the test needs nothing else.
"""

import sys
from pathlib import Path

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
}
STATISTICS = {"mean": 20.0, "std": 33.0, "percentile_00_5": -60.0, "percentile_99_5": 90.0}


def make_case(shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (2, z, y, x) float32 with a zero border, and labels 0..3 inside it."""
    random = np.random.default_rng(seed)
    image = random.normal(10, 40, (2, *shape)).astype(np.int16).astype(np.float32)
    labels = random.integers(0, 4, shape).astype(np.uint8)
    inside = np.zeros(shape, bool)
    inside[1:-1, 2:-1, 1:-2] = True
    return image * inside, labels * inside


def main(path: Path) -> None:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    stored = {}
    for name, (shape, spacing, target, transpose, normalization, mask, seed) in CASES.items():
        image, labels = make_case(shape, seed)
        arguments = {"order_z": 0, "force_separate_z": None}
        function = "resample_data_or_seg_to_shape"
        configuration = {
            "spacing": [value for value in target if value is not None],
            "normalization_schemes": [normalization] * 2,
            "use_mask_for_norm": [mask] * 2,
            "resampling_fn_data": function,
            "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **arguments},
            "resampling_fn_seg": function,
            "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **arguments},
            "architecture": {"network_class_name": "unused", "arch_kwargs": {}, "_kw_requires_import": []},
        }
        plans = {
            "transpose_forward": list(transpose),
            "transpose_backward": [transpose.index(axis) for axis in range(3)],
            "foreground_intensity_properties_per_channel": {"0": STATISTICS, "1": STATISTICS},
            "configurations": {"it": configuration},
            "label_manager": "LabelManager",
        }
        names = {"background": 0, "one": 1, "two": 2, "three": 3}
        manager = PlansManager(plans)
        prepared, indices, _ = DefaultPreprocessor(verbose=False).run_case_npy(
            image, labels[None].astype(np.int16), {"spacing": spacing}, manager, manager.get_configuration("it"),
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
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **stored)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
