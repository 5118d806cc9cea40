"""The whole pipeline on a dataset made on the spot: an organ with a lesion in it, seen by two modalities.

The organ stands out in T1 and the lesion in T2 only, so that a network must use both channels; a cyst outside the organ
looks like a lesion, so that it must use context, too. Slices are three times as thick as pixels are wide; gain, offset
and bias field differ from case to case, as between real scanners.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.files import atomic_file, remove_unfinished
from ..core.geometry import Geometry
from ..core.progress import duration
from ..core.seeds import generator
from ..data.dataset import Case
from ..evaluation.picture import overview
from ..evaluation.scores import Summary
from ..evaluation.tables import score_table
from ..parts.readers import read_image, read_labels, write_channels, write_labels
from ..settings import RunSettings
from ..task import Task
from ..workspace import DatasetFolder, Workspace

NAME = "Dataset999_Demo"
CHANNELS = ("T1", "T2")
LABELS = {"background": 0, "organ": 1, "lesion": 2}
SPACING = (3.0, 1.0, 1.0)
TRAINING_CASES, TEST_CASES = 16, 4

Smooth = Callable[[float], np.ndarray]
"""A smooth random field (z, y, x) of unit variance; the argument is its width in mm."""


@dataclass(frozen=True)
class Phantom:
    """One simulated examination."""

    channels: np.ndarray
    """float32, (2, z, y, x)."""
    labels: np.ndarray
    """uint8, (z, y, x)."""


def make_phantom(random: np.random.Generator) -> Phantom:
    """A body, in it an organ of random shape and place and a cyst, and in the organ a lesion."""
    from scipy.ndimage import gaussian_filter

    shape = tuple(int(size) for size in random.integers((14, 66, 66), (19, 79, 79)))
    size = np.array(shape) * SPACING  # mm

    def smooth(width_mm: float) -> np.ndarray:
        field = gaussian_filter(random.standard_normal(shape), [width_mm / step for step in SPACING], mode="reflect")
        return field / field.std()

    def distance(centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """1 on the ellipsoid's surface; centre and radii in mm."""
        axes = [((np.arange(n) + 0.5) * step - c) / r for n, step, c, r in zip(shape, SPACING, centre, radii)]
        return np.sqrt(sum(np.square(axis) for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))

    body = distance(size / 2, size * (0.62, 0.46, 0.46)) + 0.03 * smooth(12) < 1
    radii = random.uniform((11, 14, 14), (16, 20, 20))
    centre = size / 2 + random.uniform(-1, 1, 3) * (4, 9, 9)
    organ = (distance(centre, radii) + 0.12 * smooth(7) < 1) & body
    direction = random.standard_normal(3)
    place = centre + direction / np.linalg.norm(direction) * radii * random.uniform(0.1, 0.45)
    lesion = (distance(place, random.uniform(5.5, 8.5, 3)) + 0.12 * smooth(4) < 1) & organ
    angle = random.uniform(0, 2 * np.pi)
    beside = size / 2 + np.array((0, np.sin(angle), np.cos(angle))) * 0.33 * size
    cyst = (distance(beside, random.uniform(5, 8, 3)) + 0.12 * smooth(4) < 1) & body & ~organ

    # Contrast of air, body, organ, lesion, cyst. The lesion is all but invisible in T1, the organ in T2.
    contrasts = ((0.0, 0.45, 0.68, 0.66, 0.46), (0.0, 0.50, 0.53, 0.76, 0.77))
    tissue = body.astype(np.uint8) + organ + lesion + 3 * cyst
    channels = [_scan(np.array(values)[tissue], body, smooth, random) for values in contrasts]
    return Phantom(np.stack(channels).astype(np.float32), organ.astype(np.uint8) + lesion)


def _scan(signal: np.ndarray, body: np.ndarray, smooth: Smooth, random: np.random.Generator) -> np.ndarray:
    """What a scanner makes of ideal contrasts: texture, blur, bias field, noise, arbitrary units."""
    from scipy.ndimage import gaussian_filter

    signal = signal + 0.03 * smooth(4) * body
    signal = gaussian_filter(signal, [0.6 / step for step in SPACING])
    signal = signal * np.exp(0.10 * smooth(30))
    real, imaginary = 0.06 * random.standard_normal((2, *signal.shape))
    magnitude = np.hypot(signal + real, imaginary)  # Rician noise, as in any magnitude MR image
    return magnitude * random.uniform(300, 900) + random.uniform(0, 40)


def make_dataset(folder: Path, *, cases: int = TRAINING_CASES, tests: int = TEST_CASES, seed: int = 0) -> Path:
    """Writes a dataset in nnU-Net's raw layout and returns its folder; imagesTs and labelsTs hold cases to test on."""
    for place in (folder, *folder.glob("*s??")):
        remove_unfinished(place)
    for number in range(cases + tests):
        phantom = make_phantom(generator(seed, "phantom", number))
        geometry = Geometry.plain(phantom.labels.shape, SPACING)
        part = "Tr" if number < cases else "Ts"
        key = f"demo_{number:03d}"
        for channel, array in enumerate(phantom.channels):
            write_channels(array[None], geometry, folder / f"images{part}" / f"{key}_{channel:04d}.nii.gz")
        write_labels(phantom.labels, geometry, folder / f"labels{part}" / f"{key}.nii.gz")
    description = {
        "channel_names": {str(n): name for n, name in enumerate(CHANNELS)},
        "labels": LABELS,
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    with atomic_file(folder / "dataset.json") as temporary:
        temporary.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return folder


def files_of(folder: Path) -> DatasetFolder:
    """What a demo in ``folder`` prepares and trains."""
    return Workspace(folder / "workspace").dataset_folder(NAME)


def predictions_of(folder: Path) -> Path:
    """Where a demo in ``folder`` predicts."""
    return folder / "predictions"


def demo(folder: Path, *, epochs: int | None = None, settings: RunSettings | None = None) -> str:
    """Makes the dataset, plans, trains fold 0, predicts the held-out cases, scores and draws them: all in ``folder``.

    Returns what a terminal should show. ``epochs`` None trains as long as planned. A demo that was interrupted
    continues where it was.
    """
    # Here and not above, so that the dataset can be had without torch.
    from ..data.layouts import find_images
    from ..inference.model import Model
    from ..inference.outputs import AGREEMENT, chosen
    from .evaluate import evaluate
    from .make_plan import PlanRequest
    from .plan_and_preprocess import plan_and_preprocess
    from .predict import predict
    from .train import train

    start, settings = time.monotonic(), settings or RunSettings()
    raw = folder / NAME
    if not (raw / "dataset.json").exists():  # written last
        make_dataset(raw)
    files, predictions = files_of(folder), predictions_of(folder)
    plan_and_preprocess(raw, Workspace(folder / "workspace"), PlanRequest(planner="tiny", settings=settings))
    trained = train(files, "0", epochs=epochs, settings=settings)
    model = Model.read(trained, settings=settings)
    cases, _ = find_images([raw / "imagesTs"], len(CHANNELS))
    predict(model, cases, predictions, outputs=chosen([AGREEMENT]))
    summary = evaluate(raw / "labelsTs", predictions, output=predictions, workers=settings.threads)
    remove_unfinished(predictions / "pictures")
    for case in cases:
        _draw(case, raw, predictions, model.task, summary)
    taken = duration(time.monotonic() - start)
    done = f"planned, trained, predicted and scored in {taken}; look at {predictions / 'pictures'}"
    return f"{score_table(summary)}\n\n{done}"


def _draw(case: Case, raw: Path, predictions: Path, task: Task, summary: Summary) -> None:
    path = predictions / "pictures" / f"{case.key}.png"
    name = f"{case.key}{task.file_ending}"
    reference, prediction = (read_labels(folder / name)[0] for folder in (raw / "labelsTs", predictions))
    dice = ", ".join(f"{label} {scores['dice']:.2f}" for label, scores in summary.cases[case.key].items())
    title = f"{case.key}, Dice: {dice}"
    overview(path, read_image(case.files), reference, prediction, task.labels, title, task.channels)
