"""An imported model predicts what nnU-Net v2 2.8.1 predicted: label maps stored by benchmarks/oracle_models.py.

The models are tiny and the images phantoms. Together they have both networks, 2-D and 3-D, a fold alone and an
ensemble, with mirroring and without, a turned file and a transposed plan, a crop and a mask, regions and an ignore
label, another spacing than the model's, and a postprocessing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.core.geometry import Geometry, Image
from autoseg.inference.model import Model
from autoseg.inference.options import PredictOptions
from autoseg.interop.nnunet_model import import_nnunet
from autoseg.settings import RunSettings

FOLDER = Path(__file__).with_name("models")
STORED = {path.stem: np.load(path, allow_pickle=False) for path in sorted(FOLDER.glob("*.npz"))}
PREDICTED = [
    (name, key)
    for name, stored in STORED.items()
    for key in stored.files
    if key.rpartition("/")[2] not in ("image", "spacing", "origin", "direction")
]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, str], Path]:
    """The bundle of some folds of a stored model: the postprocessing is that of exactly these folds."""
    folder = tmp_path_factory.mktemp("imported")

    @cache
    def bundle(name: str, title: str, folds: str) -> Path:
        target = folder / f"{name}_{title}_{folds}"
        return import_nnunet(FOLDER / f"{name}.zip", target, configuration=title, folds=folds.split("+")).path

    return bundle


def image_of(stored: Any, case: str) -> Image:
    array = stored[f"{case}/image"].astype(np.float32)
    z, y, x = stored[f"{case}/spacing"].tolist()
    origin, direction = (tuple(stored[f"{case}/{what}"].tolist()) for what in ("origin", "direction"))
    return Image(array, Geometry(array.shape[1:], (z, y, x), origin, direction))


@pytest.mark.parametrize(("name", "key"), PREDICTED, ids=["/".join(entry) for entry in PREDICTED])
def test_labels_are_nnunets(name: str, key: str, imported: Callable[[str, str, str], Path]) -> None:
    case, title, folds, *mirrored = key.split("/")
    settings = RunSettings(device="cpu", threads=1)
    model = Model.read(imported(name, title, folds), settings=settings)
    prediction = model.segment(image_of(STORED[name], case), PredictOptions(tta="full" if mirrored else "none"))
    expected = STORED[name][key]
    assert (expected > 0).any()
    assert (prediction.labels != expected).mean() <= 1e-4
