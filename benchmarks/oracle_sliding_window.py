"""Stores what nnU-Net's sliding window predicts, for tests/inference/test_sliding_window.py.

Run with the Python of an environment that holds nnU-Net (stored values: nnunetv2 2.8.1, torch 2.13.0, CPU):

    python benchmarks/oracle_sliding_window.py tests/inference/nnunet_sliding_window.npz

nnU-Net accumulates in float16, where the weights at the corners of a patch have no digits left: logits there are off by
up to 0.02. It is made to use float32 here, so that the comparison is about the method.

The network is one convolution with fixed weights, written out here so that the test can build the same.
"""

import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from nnunetv2.inference import predict_from_raw_data
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

torch.half = torch.float32
predict_from_raw_data.compute_gaussian = partial(predict_from_raw_data.compute_gaussian, dtype=torch.float32)

PATCHES = {"larger": (8, 12, 10), "padded": (16, 12, 24), "flat": (12, 10)}
HEADS = 2


def convolution(dimensions: int) -> torch.nn.Module:
    """Two channels to two heads, kernel 3, weights from a formula; uneven, so that mirroring matters."""
    kind = torch.nn.Conv2d if dimensions == 2 else torch.nn.Conv3d
    layer = kind(2, HEADS, 3, padding=1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.sin(torch.arange(parameter.numel(), dtype=torch.float32)).reshape(parameter.shape))
    return layer


def main(target: str) -> None:
    image = np.random.default_rng(0).normal(size=(2, 13, 17, 19)).astype(np.float32)
    stored = {"image": image}
    for name, patch in PATCHES.items():
        predictor = nnUNetPredictor(
            use_mirroring=True, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
        )
        predictor.network = convolution(len(patch))
        predictor.configuration_manager = SimpleNamespace(patch_size=patch)
        predictor.label_manager = SimpleNamespace(num_segmentation_heads=HEADS)
        predictor.allowed_mirroring_axes = tuple(range(len(patch)))
        logits = predictor.predict_sliding_window_return_logits(torch.from_numpy(image))
        stored[name] = logits.float().numpy()
    np.savez_compressed(target, **stored)


if __name__ == "__main__":
    main(sys.argv[1])
