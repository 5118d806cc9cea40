"""Why a model decides as it does: maps of a case for labels, by several ways, as files on the image's grid."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..core.family import Family
from ..core.files import make_folder, refuse_unwritable, remove_unfinished
from ..core.geometry import Image
from ..core.names import short
from ..core.progress import progress
from ..core.records import write_json
from ..data.dataset import Case
from ..data.images import read_case
from ..errors import AutosegError, UsageError
from ..inference.explained import Place, explained, passes, place_of
from ..inference.modality import placed
from ..inference.model import Model
from ..inference.predictor import Predictor
from ..parts.readers import write_channels
from ..workspace import Workspace
from .to_predict import images_to_predict

LOG = logging.getLogger("autoseg")
EXPLANATIONS = Family("autoseg.parts.explanations", "Spec")
METHODS = ("grad_cam", "occlusion")  # that every network has; detail and doubt are others'
RECORD = "explained.json"
LONGEST_NAME = 60  # bytes of a label in the name of a file


@dataclass(frozen=True)
class ExplainedMap:
    """One map."""

    case: str
    label: str
    method: str
    file: str
    unit: str
    """What its values are."""
    largest: float
    at: tuple[int, int, int]
    """Where that is: voxel (z, y, x) of the file, counted from 0."""
    inside: float
    """Share of the map's positive values that lies in the part of the label that is explained, the largest one."""


@dataclass(frozen=True)
class Seen:
    """One map, with what is drawn of it."""

    told: ExplainedMap
    image: Image
    array: np.ndarray
    """The map (z, y, x), float32."""
    inside: np.ndarray
    """(z, y, x) bool: the part of the label that is explained."""


def methods(names: Sequence[str], trusted: tuple[str, ...] = ()) -> dict[str, Any]:
    """Name to part. Raises UnknownPartError."""
    return {name: EXPLANATIONS.load(name, trusted)() for name in names or METHODS}


def cases_of(model: Model, names: Sequence[str], workspace: Workspace) -> Sequence[Case]:
    """Cases by their names in the dataset that the model was trained on, or image files.

    Raises UsageError, DatasetError or WorkspaceError.
    """
    if all(Path(name).exists() for name in names):
        cases, refused = images_to_predict(model, [Path(name) for name in names])
        for key, why in refused.items():
            raise UsageError(f"case {short(key)}: {why}")
        return cases
    try:
        dataset = workspace.dataset_folder(model.task.dataset).read_dataset()
    except AutosegError:
        raise UsageError(
            f"{short(', '.join(names))}: no such file, and {workspace.root} does not know {model.task.dataset}, which "
            "the model was trained on; give image files"
        ) from None
    there = {case.key: case for case in dataset.cases}
    if unknown := [name for name in names if name not in there]:
        raise UsageError(f"{short(unknown[0])} is neither a file nor a case of {dataset.name}")
    return [there[name] for name in names]


def heads_of(model: Model, labels: Sequence[str]) -> dict[str, int]:
    """Label to head, of those that are named; of all but the background where none is. Raises UsageError."""
    labelled = model.task.labels
    known = {name: head for head, name in enumerate(labelled.head_names) if name in labelled.foreground}
    if unknown := [label for label in labels if label not in known]:
        raise UsageError(f"the model has no label {short(unknown[0])!r}; it has {short(', '.join(known), 300)}")
    return {label: known[label] for label in labels or known}


def only_model(found: Predictor[Any]) -> Model:
    """Raises UsageError for an ensemble of configurations, of which each sees another grid."""
    if isinstance(found, Model):
        return found
    raise UsageError("the model is an ensemble of configurations; name the one to explain with -c")


def explain(
    model: Model, case: Case, folder: Path, parts: dict[str, Any], heads: dict[str, int], names: FileNames
) -> Iterator[Seen]:
    """Writes ``folder/<case>_<label>_<method>.nii.gz`` (``names``) for every label that the model finds in the case,
    and gives one map after the other: those of a label together, those first for which the network sees fewest patches.

    Raises UsageError where it finds none of them, or a network has not what a method looks at.
    """
    image = placed(read_case(case, model.task.alignment), model.task, case.key)
    prepared = model.prepare(image)
    inputs, decided = model.inputs(prepared), model.decided(prepared)
    found = {label: head for label, head in heads.items() if decided.of(head).any()}
    for label in heads.keys() - found.keys():
        LOG.info("case %s: the model does not find %s, so nothing explains it", case.key, label)
    if not found:
        raise UsageError(f"case {case.key}: the model finds none of {short(', '.join(heads), 300)} in it")
    first = next(iter(found.values()))
    seen = place_of(model, prepared, inputs, decided.of(first))  # patches of all labels are of one size
    counts = {name: passes(model, part, seen, first) for name, part in parts.items()}
    total = len(found) * sum(counts.values())
    LOG.info("case %s: %d maps, for which the network sees %d patches", case.key, len(found) * len(parts), total)
    steps = _Steps(progress(iter(range(total)), total, f"explaining {case.key}"))
    for label, head in found.items():
        place = place_of(model, prepared, inputs, decided.of(head))
        inside = _on_file(model, prepared, place, place.region.astype(np.float32)) > 0.5
        for name in sorted(parts, key=lambda name: counts[name]):  # a network that does not suit is told at once
            whole = _on_file(model, prepared, place, explained(model, parts[name], place, head, steps))
            if not np.isfinite(whole).all():
                raise UsageError(f"case {case.key}: {name} gives values that are no numbers for {label}")
            path = folder / f"{names[case.key, label]}_{name}.nii.gz"
            write_channels(whole[None], image.geometry, path)
            yield Seen(_told(case.key, label, name, path.name, parts[name].unit, whole, inside), image, whole, inside)
    steps.end()


class _Steps:
    """Tells a progress bar how many patches were seen."""

    def __init__(self, bar: Iterator[int]) -> None:
        self._bar = bar

    def __call__(self, count: int) -> None:
        for _ in range(count):
            next(self._bar, None)

    def end(self) -> None:
        for _ in self._bar:
            pass


def prepare_folder(folder: Path) -> None:
    """Makes it. Raises UsageError where other files lie than those of an earlier explanation, OSError where nothing can
    be written."""
    refuse_unwritable(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file():
        raise UsageError(f"{folder} holds other files; give -o a folder of its own")
    make_folder(folder)
    remove_unfinished(folder)


def write_record(folder: Path, maps: Sequence[ExplainedMap]) -> None:
    """All maps of a folder as JSON."""
    write_json(folder / RECORD, list(maps))


def _on_file(model: Model, prepared: Any, place: Place, found: np.ndarray) -> np.ndarray:
    """float32 (z, y, x) on the grid of the image's file."""
    whole = place.on_grid(found, prepared.image.shape[1:])
    undone: np.ndarray = prepared.record.undo(whole[None], model.configuration.resampler.resample_image)[0]
    return np.ascontiguousarray(undone, np.float32)


def _told(
    case: str, label: str, method: str, file: str, unit: str, whole: np.ndarray, inside: np.ndarray
) -> ExplainedMap:
    z, y, x = (int(place) for place in np.unravel_index(int(whole.argmax()), whole.shape))
    positive = np.clip(whole, 0, None)
    share = float(positive[inside].sum() / positive.sum()) if positive.any() else 0.0
    return ExplainedMap(case, label, method, file, unit, float(whole.max()), (z, y, x), round(share, 4))


FileNames = dict[tuple[str, str], str]
"""Case and label to what their files begin with."""


def file_names(cases: Iterable[str], labels: Sequence[str], methods: Collection[str]) -> FileNames:
    """No two files of a run have one name, whatever cases and labels are called, also where letters' case does not
    matter."""
    names: FileNames = {}
    taken: set[str] = set()
    for number, (case, label) in enumerate(product(cases, labels), 1):
        plain = re.sub(r"[^\w.+-]+", "-", label).encode()[:LONGEST_NAME].decode(errors="ignore") or "label"
        begin = f"{case}_{plain}"
        while taken & (files := {begin.lower(), *(f"{begin}_{method}".lower() for method in methods)}):
            begin = f"{begin}-{number}"
        taken |= files
        names[case, label] = begin
    return names
