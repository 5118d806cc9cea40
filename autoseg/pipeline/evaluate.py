"""From label maps and a reference to a table of scores."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core.labels import ExclusiveLabels, Labels
from ..core.masks import MaskLabels
from ..core.names import first_of, short
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..data.folds import FoldRules, likely_group
from ..data.label_maps import read_label_map
from ..errors import AutosegError, DatasetError
from ..evaluation.scores import (
    CaseScores,
    Summary,
    chosen_metrics,
    score_case,
    standard_metrics,
    summarise,
    write_scores,
)
from ..parts.readers import differences, read_header, read_labels
from .label_pairs import Pair, find_pairs, name_of
from .label_probabilities import probabilities_in, probability_files
from .named_labels import beside, named_labels
from .plan_folds import patients_of
from .replaced import refuse_others_scores

LOG = logging.getLogger("autoseg")
MOST_VALUES = 500  # that are taken for labels where none are named


def evaluate(
    reference: Path,
    predictions: Path,
    *,
    labels: Path | None = None,
    output: Path | None = None,
    failed: dict[str, str] | None = None,
    metrics: Sequence[str] = (),
    tolerance: float = 1.0,
    lesion_dilation: float = 3.0,
    lesion_minimum: float = 0.0,
    group: str | None = None,
    group_file: str | None = None,
    trusted: tuple[str, ...] = (),
    workers: int = 1,
) -> Summary:
    """Scores every case of ``reference`` that has a prediction; the others are named in ``Summary.missing``.

    Both are folders of label files, matched by case name whatever their endings, or two files. Where each mask of a
    case is a file, the files ``<case>_<mask>`` of a folder are a case. ``labels`` is the ``dataset.json`` that names
    the labels; None takes the one beside or in the reference's folder, or in that of the predictions, or else every
    value that occurs. ``metrics`` are computed beside the standard ones: files of ``parts/metrics``, or modules of
    your own in a ``trusted`` package. ``tolerance`` in mm is that of the surface Dice, ``lesion_dilation`` in mm and
    ``lesion_minimum`` in mm³ are those of ``lesions``. ``group`` and ``group_file`` name the patients, as in
    ``FoldRules``; intervals then resample patients. Writes scores.csv and scores.json into ``output`` (None: nowhere),
    where they replace only those of before. Raises DatasetError naming the case that cannot be scored, unless a
    dictionary ``failed`` is given, which then holds what is wrong with it; UsageError where patients are not named, or
    probabilities are missing; UnknownPartError.
    """
    chosen = chosen_metrics(metrics, tolerance, lesion_dilation, lesion_minimum, trusted)
    folder = predictions if predictions.is_dir() else predictions.parent
    predicted = [folder / "dataset.json"]
    named = named_labels(beside(reference) + predicted, labels)
    pairs, missing = find_pairs(reference, predictions, named)
    if missing:
        LOG.warning("%s no prediction in %s: %s", _cases_have(missing), predictions, ", ".join(missing))
    if output is not None:
        refuse_others_scores(output)
    patients = patients_of(list(pairs), FoldRules(group, group_file))
    likely = likely_group(pairs)
    if likely and not patients:
        LOG.warning(
            "several cases seem to belong to one patient; intervals that resample patients: --group '%s'", likely
        )
    known = named or _inferred_labels(pairs)
    scorer = Scorer(known, chosen)
    if any(metric.of_probabilities for metric in chosen):
        files = probability_files({case: name_of(case, pair[1], known) for case, pair in pairs.items()}, folder)
        scorer = replace(scorer, probabilities=files, heads=named_labels(predicted, None) or known)
    return score_pairs(pairs, scorer, output, failed=failed, missing=missing, patients=patients, workers=workers)


@dataclass(frozen=True)
class Scorer:
    """What is measured of each case, and what is needed for it."""

    labels: Labels
    metrics: Sequence[Any] = field(default_factory=standard_metrics)
    probabilities: Mapping[str, Path] = field(default_factory=dict)
    """By case; empty where no metric needs them."""
    heads: Labels | None = None
    """Those of the model that gave the probabilities."""
    beside: Callable[[str, np.ndarray], None] | None = None
    """Is given the name of each case that was scored and its reference, which is read anyway: the user's values."""

    def __call__(self, key: str, pair: Pair) -> CaseScores:
        true, predicted = pair
        labels, whole = self.labels, self.labels
        if isinstance(whole, MaskLabels):
            whole = replace(whole, absent_are_empty=False)
        grid = None if any(true) else next(read_header(path).geometry for path in predicted if path)
        reference, geometry = read_label_map(true, labels, grid)
        prediction, other = read_label_map(predicted, whole)
        if reference.shape == prediction.shape:
            for difference in differences(geometry, other):
                if not difference.rounding:
                    files = next(filter(None, true)), next(filter(None, predicted))
                    LOG.warning("%s: %s and %s lie on different grids: %s", key, *files, difference.what)
        path, chances = self.probabilities.get(key), None
        if path is not None:
            chances = probabilities_in(path, self.heads or labels, prediction.shape)
        scores = score_case(reference, prediction, labels, geometry, self.metrics, chances)
        if self.beside is not None:
            self.beside(key, reference)
        return scores


def score_pairs(
    pairs: Mapping[str, Pair],
    scorer: Scorer,
    output: Path | None,
    *,
    failed: dict[str, str] | None = None,
    missing: Sequence[str] = (),
    patients: Mapping[str, str] | None = None,
    workers: int = 1,
) -> Summary:
    """Scores the pairs and writes scores.csv and scores.json into ``output``, if there is one.

    ``patients`` maps case to patient; None or empty: each case is one.
    """
    cases = scored(pairs, scorer, failed, workers)
    if failed and not cases:
        raise DatasetError(f"no case can be scored: {first_of(list(failed.values()), 3)}")
    summary = summarise(cases, missing=missing, patients=patients)
    if output is not None:
        write_scores(output, summary)
    return summary


def scored(
    pairs: Mapping[str, Pair], scorer: Scorer, failed: dict[str, str] | None = None, workers: int = 1
) -> dict[str, CaseScores]:
    """Of every case that can be scored, as ``evaluate``."""
    score = partial(_score, scorer=scorer, failed=failed)
    found = progress(ordered_map(score, pairs.items(), workers), len(pairs), "scoring")
    return {key: scores for key, scores in found if scores is not None}


def _cases_have(names: Sequence[str]) -> str:
    return "1 case has" if len(names) == 1 else f"{len(names)} cases have"


def _inferred_labels(pairs: dict[str, Pair]) -> Labels:
    """Every value of either label map but 0, so that a value only predicted counts as wrong."""
    found: set[int] = set()
    for path in (path for pair in pairs.values() for files in pair for path in files if path):
        try:
            found |= set(np.unique(read_labels(path)[0]).tolist())
        except AutosegError:  # scoring says so
            continue
        if len(found) > MOST_VALUES:
            raise DatasetError(
                f"{path}: {len(found)} different values so far are too many for labels, this looks like an image; give "
                "label maps, or name the labels with --labels"
            )
    values = sorted(found - {0})
    if not values:
        raise DatasetError("every label map holds 0 only, so there is nothing to score; name the labels with --labels")
    LOG.info("no dataset.json beside the reference: 0 is background and a label each are %s", values)
    return ExclusiveLabels({"background": 0} | {f"label_{value}": value for value in values})


def _score(case: tuple[str, Pair], *, scorer: Scorer, failed: dict[str, str] | None) -> tuple[str, CaseScores | None]:
    key, pair = case
    try:
        return key, scorer(key, pair)
    except AutosegError as error:
        files = [path for files in pair for path in files if path]
        told = f"case {key!r} ({short(', '.join(map(str, files)), 600)}): {error}"
        if failed is None:
            raise DatasetError(told) from None
        failed[key] = told
        LOG.error("%s", told)
        return key, None
