"""From label maps and a reference to a table of scores."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from ..core.labels import ExclusiveLabels, Labels
from ..core.masks import MaskLabels
from ..core.names import first_of, short
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..core.records import from_json
from ..data import dataset_json
from ..data.dataset import Dataset, LabelFiles
from ..data.folds import FoldRules, likely_group
from ..data.label_maps import read_label_map
from ..data.layouts.masks import case_and_mask
from ..errors import AutosegError, DatasetError
from ..evaluation.scores import CaseScores, Summary, score_case, standard_metrics, summarise, write_scores
from ..parts.readers import ENDINGS, differences, ending_of, read_header, read_labels
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
    tolerance: float = 1.0,
    group: str | None = None,
    group_file: str | None = None,
    workers: int = 1,
) -> Summary:
    """Scores every case of ``reference`` that has a prediction; the others are named in ``Summary.missing``.

    Both are folders of label files, matched by case name whatever their endings, or two files. Where each mask of a
    case is a file, the files ``<case>_<mask>`` of a folder are a case. ``labels`` is the
    ``dataset.json`` that names the labels; None takes the one beside or in the reference's folder, or else every value
    that occurs. ``tolerance`` in mm is that of the surface Dice. ``group`` and ``group_file`` name the patients, as in
    ``FoldRules``; intervals then resample patients. Writes scores.csv and scores.json into ``output`` (None: beside the
    predictions), where they replace only those of before. Raises DatasetError naming the case that cannot be scored,
    unless a dictionary ``failed`` is given, which then holds what is wrong with it; UsageError where patients are not
    named.
    """
    named = _named_labels(reference, labels)
    pairs, missing = find_pairs(reference, predictions, named)
    if missing:
        LOG.warning("%d cases have no prediction in %s: %s", len(missing), predictions, ", ".join(missing))
    folder = output or (predictions if predictions.is_dir() else predictions.parent)
    refuse_others_scores(folder)
    patients = patients_of(list(pairs), FoldRules(group, group_file))
    likely = likely_group(pairs)
    if likely and not patients:
        LOG.warning(
            "several cases seem to belong to one patient; intervals that resample patients: --group '%s'", likely
        )
    return score_pairs(
        pairs,
        named or _inferred_labels(pairs),
        folder,
        failed=failed,
        missing=missing,
        patients=patients,
        tolerance=tolerance,
        workers=workers,
    )


Pair = tuple[LabelFiles, LabelFiles]
"""Reference and prediction of one case."""


def score_pairs(
    pairs: Mapping[str, Pair],
    labels: Labels,
    output: Path,
    *,
    failed: dict[str, str] | None = None,
    missing: Sequence[str] = (),
    patients: Mapping[str, str] | None = None,
    tolerance: float = 1.0,
    workers: int = 1,
) -> Summary:
    """Scores the pairs and writes scores.csv and scores.json into ``output``.

    ``patients`` maps case to patient; None or empty: each case is one.
    """
    cases = scored(pairs, labels, failed, tolerance, workers)
    if failed and not cases:
        raise DatasetError(f"no case can be scored: {first_of(list(failed.values()), 3)}")
    summary = summarise(cases, missing=missing, patients=patients)
    write_scores(output, summary)
    return summary


def scored(
    pairs: Mapping[str, Pair],
    labels: Labels,
    failed: dict[str, str] | None = None,
    tolerance: float = 1.0,
    workers: int = 1,
) -> dict[str, CaseScores]:
    """Of every case that can be scored, as ``evaluate``."""
    score = partial(_score, labels=labels, metrics=standard_metrics(tolerance), failed=failed)
    found = progress(ordered_map(score, pairs.items(), workers), len(pairs), "scoring")
    return {key: scores for key, scores in found if scores is not None}


def find_pairs(
    reference: Path, predictions: Path, labels: Labels | None = None
) -> tuple[dict[str, Pair], tuple[str, ...]]:
    """Case to its files of both, and the cases without a prediction. Raises DatasetError when no case has both.

    ``labels`` None: whatever they are, they are one label map per case.
    """
    for path in (reference, predictions):
        if not path.exists():
            raise DatasetError(f"{path} does not exist")
    if reference.is_file() and predictions.is_file():
        if _are_files(labels):
            raise DatasetError("each mask is a file: give the folder of the references and that of the predictions")
        return {_key(reference): ((reference,), (predictions,))}, ()
    if reference.is_file() or predictions.is_file():
        raise DatasetError(f"{reference} and {predictions}: give two folders or two files, not one of each")
    wanted, found = _label_files(reference, labels), _label_files(predictions, labels)
    pairs = {
        key: (_of_case(files, labels), _of_case(found[key], labels)) for key, files in wanted.items() if key in found
    }
    if not pairs:
        raise DatasetError(
            f"no file in {predictions} has the name of one in {reference}: "
            f"found {_some(found)}, expected {_some(wanted)}"
        )
    if surplus := sorted(set(found) - set(wanted)):
        LOG.info("%d predictions have no reference and are not scored: %s", len(surplus), _some(surplus))
    return pairs, tuple(sorted(set(wanted) - set(found)))


def _are_files(labels: Labels | None) -> TypeGuard[MaskLabels]:
    """Whether each mask is a file."""
    return isinstance(labels, MaskLabels) and not labels.in_channels


def _label_files(folder: Path, labels: Labels | None) -> dict[str, list[Path]]:
    """Case to its files."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(ENDINGS):
            said = case_and_mask(_key(path), labels) if _are_files(labels) else (_key(path), "")
            if said is None:
                LOG.warning("%s belongs to none of the masks; it is left out", path)
            else:
                files.setdefault(said[0], []).append(path)
    return files


def _key(path: Path) -> str:
    return path.name.removesuffix(ending_of(path))


def _of_case(files: list[Path], labels: Labels | None) -> LabelFiles:
    """One file, or one for each mask; None for a mask without one."""
    if not _are_files(labels):
        return (_only(files, "case"),)
    found: dict[str, list[Path]] = {}
    for path in files:
        _, mask = case_and_mask(_key(path), labels) or ("", "")
        found.setdefault(mask, []).append(path)
    return tuple(_only(found[mask], "mask") if mask in found else None for mask in labels.masks)


def _only(files: list[Path], of: str) -> Path:
    if len(files) > 1:
        raise DatasetError(f"several files for one {of}: {', '.join(map(str, files))}. Keep one of them")
    return files[0]


def _some(keys: Iterable[str]) -> str:
    names = list(keys)
    return (", ".join(names[:5]) + (", ..." if len(names) > 5 else "")) or "nothing"


def _named_labels(reference: Path, given: Path | None) -> Labels | None:
    """None where no dataset.json names them."""
    folder = reference if reference.is_dir() else reference.parent
    beside = [path for path in (folder / "dataset.json", folder.parent / "dataset.json") if path.exists()]
    if given is None and not beside:
        return None
    path = given or beside[0]
    description = dataset_json.read(path)
    if isinstance(description.get("labels"), dict) and "kind" in description["labels"]:  # autoseg's own, in a workspace
        record: Dataset = from_json(Dataset, description, where=path.name)
        return record.labels
    return dataset_json.labels_of(description, path)


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


def _score(
    case: tuple[str, Pair], *, labels: Labels, metrics: Sequence[Any], failed: dict[str, str] | None
) -> tuple[str, CaseScores | None]:
    key, pair = case
    try:
        return key, _scores(key, pair, labels, metrics)
    except AutosegError as error:
        files = [path for files in pair for path in files if path]
        told = f"case {key!r} ({short(', '.join(map(str, files)), 600)}): {error}"
        if failed is None:
            raise DatasetError(told) from None
        failed[key] = told
        LOG.error("%s", told)
        return key, None


def _scores(key: str, pair: Pair, labels: Labels, metrics: Sequence[Any]) -> CaseScores:
    true, predicted = pair
    whole = replace(labels, absent_are_empty=False) if isinstance(labels, MaskLabels) else labels
    grid = None if any(true) else next(read_header(path).geometry for path in predicted if path)
    reference, geometry = read_label_map(true, labels, grid)
    prediction, other = read_label_map(predicted, whole)
    if reference.shape == prediction.shape:
        for difference in differences(geometry, other):
            if not difference.rounding:
                files = next(filter(None, true)), next(filter(None, predicted))
                LOG.warning("%s: %s and %s lie on different grids: %s", key, *files, difference.what)
    return score_case(reference, prediction, labels, geometry, metrics)
