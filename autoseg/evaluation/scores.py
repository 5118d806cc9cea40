"""How good predictions are: every metric for every label of every case, and what that amounts to over all cases.

The rule for empty labels, stated once:

* a label absent from both reference and prediction is no success and no failure: its scores are NaN and left out;
* a label present in only one of them has Dice, IoU and surface Dice 0, and its distances are the image's diagonal, the
  largest an image can show: a missed structure must not improve the mean distance by leaving it;
* a ratio that is undefined even so (the precision of an empty prediction) is NaN and left out.

A mean is taken over the cases that have a number; how many those are is stored beside it. The overall mean is the mean
over labels of these means, as nnU-Net's ``foreground_mean``, except that a label without any number is left out.
Voxels with the ignore label in the reference count for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.estimate import Estimate
from ..core.extent import Extent
from ..core.family import Family
from ..core.files import atomic_file, remove_unfinished
from ..core.geometry import Geometry
from ..core.labels import Labels
from ..core.records import write_json
from ..errors import DatasetError
from .resampling import (
    FEWEST,
    drawn_weights,
    interval,
    known_mean,
    patient_numbers,
    patients_with_number,
    weighted_means,
)

if TYPE_CHECKING:
    from pandas import DataFrame

METRICS = Family("autoseg.parts.metrics", "Spec", {"of_probabilities": False})
STANDARD = ("overlap", "surface")  # what every evaluation and validation measures
NUMBER = "%.6g"  # in tables

CaseScores = dict[str, dict[str, float]]
"""Label name to metric name to number; NaN where there is none."""
Probabilities = Callable[[str], np.ndarray]
"""Of a label, region or mask by its name: uint16 (z, y, x), in parts of 65535."""


@dataclass(frozen=True)
class Summary:
    """Scores of all cases; ``scores.json``."""

    overall: dict[str, Estimate]
    """Metric to its mean over labels."""
    labels: dict[str, dict[str, Estimate]]
    """Label to metric to its mean over cases."""
    cases: dict[str, dict[str, dict[str, float | None]]]
    """Case to label to metric; None where there is no number."""
    missing: tuple[str, ...] = ()
    """Cases that have a reference but no prediction: in none of the means."""
    patients: dict[str, str] = field(default_factory=dict)
    """Case to patient, where it is known: intervals resample patients. Empty where each case is a patient."""
    subsets: dict[str, Summary] = field(default_factory=dict)
    """Channels that were left, ``FLAIR + T1``, to the scores of cases that have these and from which all others were
    withheld; what stands above is of cases as they are."""

    @property
    def dice(self) -> float:
        """Mean Dice over labels; NaN when no case has any foreground."""
        mean = self.overall["dice"].mean if "dice" in self.overall else None
        return math.nan if mean is None else mean


def standard_metrics(tolerance_mm: float = 1.0) -> tuple[Any, ...]:
    """Those that every table has."""
    return chosen_metrics((), tolerance_mm)


def chosen_metrics(
    further: Sequence[str],
    tolerance_mm: float = 1.0,
    lesion_dilation_mm: float = 3.0,
    lesion_minimum_mm3: float = 0.0,
    trusted: tuple[str, ...] = (),
) -> tuple[Any, ...]:
    """The standard ones and ``further``: names of files of ``parts/metrics``, or modules of your own in a trusted
    package. Raises UnknownPartError."""
    tolerance = {"tolerance_mm": tolerance_mm}
    lesions = {"dilation_mm": lesion_dilation_mm, "minimum_mm3": lesion_minimum_mm3}
    options = {"surface": tolerance, "surface_area": tolerance, "lesions": lesions}
    names = dict.fromkeys((*STANDARD, *further))
    return tuple(METRICS.load(name, trusted)(**options.get(name, {})) for name in names)


def score_case(
    reference: np.ndarray,
    prediction: np.ndarray,
    labels: Labels,
    geometry: Geometry,
    metrics: Sequence[Any] | None = None,
    probabilities: Probabilities | None = None,
) -> CaseScores:
    """Scores one case; both label maps hold the user's values, integer ``(z, y, x)``.

    ``probabilities`` are needed where a metric is of probabilities. Raises DatasetError when the shapes differ or a
    value is unknown.
    """
    if reference.shape != prediction.shape:
        raise DatasetError(
            f"the reference has {_size(reference)} voxels along z, y, x but the prediction {_size(prediction)}. "
            "Predict from the images the reference was drawn on"
        )
    indices = [labels.encode(reference), labels.encode(prediction)]
    spacing: tuple[float, ...] = geometry.spacing
    if reference.shape[0] == 1:  # a 2-D image has no surface towards slices that do not exist
        indices, spacing = [array[0] for array in indices], spacing[1:]
    annotated = None
    if labels.ignore_index is not None:
        annotated = indices[0] != labels.ignore_index
        indices[1][~annotated] = labels.ignore_index
    image = _extent(indices[0].shape, spacing, geometry, annotated)
    boxes = _boxes(indices, len(labels.values))
    metrics = standard_metrics() if metrics is None else metrics
    of_masks = [metric for metric in metrics if not metric.of_probabilities]
    of_probabilities = [metric for metric in metrics if metric.of_probabilities]
    scores: CaseScores = {}
    for name, values in labels.foreground.items():
        members = [labels.values.index(value) for value in values]
        belongs = np.zeros(len(labels.values) + 1, bool)  # the last entry is the ignore index: part of no label
        belongs[members] = True
        box = _union([boxes[index] for index in members], len(spacing))
        masks = [belongs[array[box]] for array in indices]
        numbers: dict[str, float] = {}
        for metric in of_masks:
            numbers |= metric.score(*masks, spacing, image)
        if of_probabilities:
            assert probabilities is not None, "probabilities are looked for before anything is scored"
            pair = _voxels(belongs[indices[0]], annotated), _voxels(probabilities(name), annotated)
            for metric in of_probabilities:
                numbers |= metric.score(*pair, spacing, image)
        scores[name] = {key: image.diagonal_mm if math.isinf(value) else value for key, value in numbers.items()}
    return scores


def _extent(
    shape: tuple[int, ...], spacing: Sequence[float], geometry: Geometry, annotated: np.ndarray | None
) -> Extent:
    """Of the image. A single slice of a volume is looked at in 2-D, but its voxels have a volume."""
    extent = Extent.of(shape, spacing)
    voxel_ml = Extent.of(geometry.shape, geometry.spacing).voxel_ml if geometry.dimensions == 3 else extent.voxel_ml
    voxels = extent.voxels if annotated is None else int(np.count_nonzero(annotated))
    return replace(extent, voxels=voxels, voxel_ml=voxel_ml)


def _voxels(array: np.ndarray, annotated: np.ndarray | None) -> np.ndarray:
    return array.reshape(-1) if annotated is None else array.reshape(annotated.shape)[annotated]


Slices = tuple[slice, ...]


def _boxes(indices: Sequence[np.ndarray], count: int) -> list[list[Slices]]:
    """For every index the boxes that hold it, found in one pass per map: scores need to look nowhere else."""
    from scipy.ndimage import find_objects

    found = [find_objects(array, max_label=count - 1) for array in indices]
    everywhere = tuple(slice(0, size) for size in indices[0].shape)  # background: only an odd region holds it
    return [[everywhere], *([boxes[n] for boxes in found if boxes[n] is not None] for n in range(count - 1))]


def _union(groups: list[list[Slices]], dimensions: int) -> Slices:
    boxes = [box for group in groups for box in group]
    if not boxes:
        return (slice(0, 0),) * dimensions
    return tuple(slice(min(part.start for part in parts), max(part.stop for part in parts)) for parts in zip(*boxes))


def _size(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape))


def summarise(
    cases: Mapping[str, CaseScores],
    *,
    missing: Sequence[str] = (),
    patients: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Summary:
    """Means over cases with 95 % bootstrap intervals, whole patients drawn with replacement.

    ``patients`` maps case to patient; where it is None or empty, each case is one.
    """
    if not cases:
        raise DatasetError("there is nothing to summarise: no case has both a reference and a prediction")
    first = next(iter(cases.values()))
    labels, metrics = list(first), list(next(iter(first.values()), {}))
    # (cases, labels, metrics)
    numbers = np.array([[[case[label][metric] for metric in metrics] for label in labels] for case in cases.values()])
    known, whose = ~np.isnan(numbers), patient_numbers(list(cases), patients or {})
    resampled = weighted_means(drawn_weights(whose, seed, "bootstrap"), numbers)  # (resamples, labels, metrics)
    means = known_mean(numbers, axis=0)
    counts = known.sum(axis=0), patients_with_number(known, whose)  # (labels, metrics)
    over_labels = known_mean(means, axis=0), known_mean(resampled, axis=1)
    any_label = known.any(axis=1).sum(axis=0), patients_with_number(known.any(axis=1), whose)  # (metrics,)
    return Summary(
        overall={
            metric: _estimate(over_labels[0][m], over_labels[1][:, m], any_label[0][m], any_label[1][m])
            for m, metric in enumerate(metrics)
        },
        labels={
            label: {
                metric: _estimate(means[n, m], resampled[:, n, m], counts[0][n, m], counts[1][n, m])
                for m, metric in enumerate(metrics)
            }
            for n, label in enumerate(labels)
        },
        cases={
            key: {
                label: {metric: None if math.isnan(value) else value for metric, value in row.items()}
                for label, row in case.items()
            }
            for key, case in cases.items()
        },
        missing=tuple(missing),
        patients={key: patients[key] for key in cases if key in patients} if patients else {},
    )


def _estimate(mean: float, resampled: np.ndarray, cases: int, patients: int) -> Estimate:
    if cases == 0:
        return Estimate(None, None, None, 0)
    if patients < FEWEST:
        return Estimate(float(mean), None, None, int(cases))
    return Estimate(float(mean), *interval(resampled, int(patients)), int(cases))


def frame(summary: Summary) -> DataFrame:
    """The cases as a table: a row per case and label, which are its index, a column per metric, NaN for no number."""
    from pandas import DataFrame, MultiIndex

    rows = {(key, label): row for key, case in summary.cases.items() for label, row in case.items()}
    index = MultiIndex.from_tuples(rows, names=["case", "label"])
    return DataFrame(list(rows.values()), index, list(summary.overall), float)


def write_scores(folder: Path, summary: Summary) -> None:
    """Writes ``scores.json`` (everything) and ``scores.csv`` (a row per case and label, an empty cell for NaN)."""
    remove_unfinished(folder)
    write_json(folder / "scores.json", summary, sealed=True)
    with atomic_file(folder / "scores.csv") as temporary:
        frame(summary).to_csv(temporary, float_format=NUMBER, encoding="utf-8", lineterminator="\r\n")
