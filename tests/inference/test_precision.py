"""On real images what is computed by default decides as plain float32 does; bfloat16 stays close."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tasks import task_of
from torch.nn.functional import cross_entropy

from autoseg.inference.model import Model
from autoseg.parts.networks import plain_unet
from autoseg.parts.networks._convolution import Conv3d
from autoseg.parts.normalizers import zscore
from autoseg.parts.readers import read_image, read_labels
from autoseg.settings import RunSettings

DATA = Path(os.environ.get("AUTOSEG_TEST_DATA", "")) / "Dataset004_Hippocampus"


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="AUTOSEG_TEST_DATA does not name a folder with Dataset004_Hippocampus")
def test_the_default_moves_no_voxel_and_bfloat16_few(small_plan, monkeypatch):
    network = plain_unet.Spec(
        features=(8, 16, 32),
        kernels=((3, 3, 3),) * 3,
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        blocks_encoder=(1, 1, 1),
        blocks_decoder=(1, 1),
    )
    configuration = replace(
        small_plan.configuration()[1],
        spacing=(1.0, 1.0, 1.0), patch_size=(40, 56, 40), network=network, normalizers=(zscore.Spec(),),
    )  # fmt: skip
    labels = replace(small_plan.labels, names={"background": 0, "anterior": 1, "posterior": 2})
    plan = replace(small_plan, axis_order=(0, 1, 2), labels=labels, configurations={small_plan.default: configuration})
    torch.manual_seed(0)
    trained = task_of(plan, configuration).network()
    settings = RunSettings(device="cpu", threads=torch.get_num_threads())
    model = Model(plan.task(), (trained,), ("0",), settings)
    names = sorted(path.name for path in (DATA / "labelsTr").glob("*.nii.gz"))[:4]
    images = [read_image([DATA / "imagesTr" / name.replace(".nii.gz", "_0000.nii.gz")]) for name in names]
    optimizer = torch.optim.Adam(trained.parameters(), 3e-3)
    for step in range(60):
        image = images[step % 2]
        values = read_labels(DATA / "labelsTr" / names[step % 2])[0]
        size = [n // 4 * 4 for n in values.shape]
        part = tuple(slice(0, n) for n in size)
        seen = torch.from_numpy(model.prepare(image).image)[(None, slice(None), *part)]
        loss = cross_entropy(trained(seen)[0], torch.from_numpy(values[part].astype(np.int64))[None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trained.eval()

    def decided(precision: str) -> np.ndarray:
        chosen = replace(model, settings=replace(settings, precision=precision))
        return np.concatenate([chosen.segment(image).labels.ravel() for image in images])

    default = decided("auto")
    few = decided("bfloat16")
    monkeypatch.setattr(Conv3d, "forward", torch.nn.Conv3d.forward)
    exact = decided("float32")
    foreground = np.count_nonzero(exact)
    assert foreground > 1000
    assert np.count_nonzero(default != exact) <= 1e-4 * foreground
    assert np.count_nonzero(few != exact) <= 1e-3 * exact.size
