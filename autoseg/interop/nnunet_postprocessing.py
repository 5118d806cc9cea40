"""What nnU-Net found worth correcting, read without running it: its postprocessing.json, or the pickle beside it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from ..core.labels import Labels
from ..corrections import Correction
from ..errors import ModelError
from ..parts.postprocessors import largest_component
from .checkpoint import NUMPY_NUMBERS
from .nnunet_files import ModelFiles
from .nnunet_json import said
from .pickles import Known, Named, read_pickle

LARGEST = "remove_all_but_largest_component_from_segmentation"
MOST_STEPS, MOST_ARGUMENTS, MOST_VALUES = 1000, 10, 10_000
MODULE = "nnunetv2.postprocessing.remove_connected_components"
KNOWN: Known = {f"{MODULE}.{LARGEST}": None, **NUMPY_NUMBERS}


def read_postprocessing(files: ModelFiles, folds: Sequence[str], labels: Labels) -> tuple[Correction, ...]:
    """The corrections that cross-validation over exactly these folds has chosen; none where nobody has looked.

    Raises ModelError for a correction that has no counterpart, and for a pickle that holds anything else.
    """
    name = f"crossval_results_folds_{'_'.join(folds)}/postprocessing"
    if f"{name}.json" in files.sizes:
        where, described = f"{files.where}/{name}.json", files.json(f"{name}.json")
        steps: Any = (described.get("postprocessing_fns"), described.get("postprocessing_kwargs"))
    elif f"{name}.pkl" in files.sizes:
        where = f"{files.where}/{name}.pkl"
        steps = read_pickle(io.BytesIO(files.read(f"{name}.pkl")), where, KNOWN)
    else:
        return ()
    listed = isinstance(steps, tuple) and len(steps) == 2 and all(isinstance(part, list) for part in steps)
    if not listed or len(steps[0]) != len(steps[1]) or len(steps[0]) > MOST_STEPS:
        raise ModelError(f"{where} does not list functions and their arguments")
    return tuple(_correction(function, arguments, labels, where) for function, arguments in zip(*steps))


def _correction(function: Any, arguments: Any, labels: Labels, where: str) -> Correction:
    name = function.name.rpartition(".")[2] if isinstance(function, Named) else function
    given = dict(arguments) if isinstance(arguments, dict) and len(arguments) <= MOST_ARGUMENTS else {}
    values = frozenset(_values(given.pop("labels_or_regions", None)))
    background = given.pop("background_label", 0)
    known = isinstance(name, str) and name == LARGEST and type(background) is int and background == labels.values[0]
    if not known or given or not values:
        raise ModelError(f"{where}: {said(name)} with {said(arguments)} has no counterpart here")
    if values == frozenset(labels.values[1:]):
        return Correction(None, largest_component.Spec())
    named = [label for label, united in labels.foreground.items() if frozenset(united) == values]
    if not named:
        raise ModelError(f"{where}: {said(sorted(values))} is neither a label, a region nor the whole foreground")
    return Correction(named[0], largest_component.Spec(), clears=bool(beyond(named[0], labels)))


def beyond(label: str, labels: Labels) -> list[str]:
    """Regions that a voxel may still belong to when ``label`` loses it; nnU-Net takes it from them as well."""
    lost = frozenset(labels.foreground[label])
    return [
        name for name, united in labels.foreground.items() if lost.intersection(united) and not lost.issuperset(united)
    ]


def _values(listed: Any) -> list[int]:
    """A value, a region, or a list of both; nothing where it is something else, or too much."""
    items = listed if isinstance(listed, list | tuple) else [listed]
    regions = [item if isinstance(item, list | tuple) else [item] for item in items[:MOST_VALUES]]
    if len(items) > MOST_VALUES or sum(map(len, regions)) > MOST_VALUES:
        return []
    values = [value for region in regions for value in region]
    return values if all(type(value) is int for value in values) else []
