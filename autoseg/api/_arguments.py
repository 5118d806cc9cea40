"""What is handed to the functions, checked and brought to the form that the stories take."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.environment import default_workspace
from ..errors import UsageError

if TYPE_CHECKING:
    from ..alignment.record import AlignmentRequest
    from ..data.folds import FoldRules
    from ..data.layouts.names import Names
    from ..pipeline.donor import Donors
    from ..pipeline.make_plan import PlanRequest
    from ..planning.constraints import PlanConstraints
    from ..settings import RunSettings
    from ..workspace import DatasetFolder, Workspace


def workspace_in(workspace: str | Path | None, trusted: tuple[str, ...] = ()) -> Workspace:
    """None is the one that commands take: of ``AUTOSEG_WORKSPACE``, or ``autoseg_workspace`` in the current folder."""
    from ..core.files import named_path
    from ..workspace import Workspace

    root = named_path(default_workspace() if workspace is None else workspace, "the workspace")
    return Workspace(root, trusted)


def dataset_in(dataset: object, root: Workspace) -> DatasetFolder:
    """What the workspace holds for a dataset that is named or lies in a folder."""
    from ..dataset_names import find_dataset

    found = find_dataset(name(dataset), root)
    return root.folder_for(found.folder, found.name)


def name(dataset: object) -> str:
    if not isinstance(dataset, str | os.PathLike | int) or isinstance(dataset, bool):
        raise UsageError(f"the dataset must be a name, a number or a path, found {dataset!r:.100}")
    if not str(dataset).strip() or "\0" in str(dataset):
        raise UsageError(f"the dataset must be a name, a number or a path, found {dataset!r:.100}")
    return str(dataset)


def path(value: object, what: str) -> Path:
    from ..core.files import named_path

    return named_path(value, what)


def optional_path(value: object, what: str) -> Path | None:
    return None if value is None else path(value, what)


def optional_text(value: object, what: str) -> str | None:
    if value is not None and not (isinstance(value, str | os.PathLike) and str(value).strip()):
        raise UsageError(f"{what} must be a text, found {value!r:.100}")
    return None if value is None else str(value)


def fold_names(folds: Sequence[int | str] | None) -> list[str] | None:
    if folds is None:
        return None
    if isinstance(folds, str | int):
        raise UsageError(f"folds must be a list of folds, found {folds!r:.100}")
    return [str(fold) for fold in folds]


def fold_rules(group: str | None, group_file: str | None, stratify: str | None) -> FoldRules | None:
    """None where nothing is said about folds: the rules of before stay."""
    from ..data.folds import FoldRules

    return FoldRules(group, group_file, stratify) if group or group_file or stratify else None


def names(channels: object, labels: object) -> Names:
    from ..data.layouts.names import Names

    return Names(words(channels, "channels", numbers=False), words(labels, "labels", numbers=False))


def alignment(align: object, reference: object) -> AlignmentRequest | None:
    """None where nothing is said about it: what was asked for before stays."""
    from ..alignment.record import HEADER, METHODS, AlignmentRequest

    if align not in (None, *METHODS):
        raise UsageError(f"align must be one of {', '.join(METHODS)}, found {align!r:.100}")
    if isinstance(reference, bool) or not isinstance(reference, str | int | None):
        raise UsageError(f"reference must be the name or the number of a channel, found {reference!r:.100}")
    if align is None and reference is None:
        return None
    return AlignmentRequest(HEADER if align is None else str(align), None if reference is None else str(reference))


def plan_request(
    planner: str | None,
    plans: object,
    asked: PlanConstraints,
    target: str | None,
    changes: Sequence[str],
    settings: RunSettings | None,
    root: Workspace,
) -> PlanRequest:
    """By whom and of what is planned. Raises UsageError where ``plans`` is no path."""
    from ..model_names import plans_or_model
    from ..pipeline.make_plan import PlanRequest
    from ..settings import RunSettings

    taken = optional_path(plans, "plans")
    decided = None if taken is None else plans_or_model(taken, root)
    return PlanRequest(planner, decided, asked, target, changes, settings or RunSettings(), root.trusted)


def donors(init: object, encoder_rate: object, root: Workspace) -> Donors | None:
    """What a training begins with. Raises UsageError."""
    from ..model_names import find_model
    from ..pipeline.donor import Donors

    model = optional_path(init, "init")
    if model is None:
        if encoder_rate is not None:
            raise UsageError("encoder_rate is about weights that init takes; name a model with init")
        return None
    given = 1.0 if encoder_rate is None else encoder_rate
    rate = number(given, "encoder_rate", "a number from 0 to 1", lambda found: 0 <= found <= 1)
    return Donors(find_model(str(model), root), rate, root.trusted)


def constraints(
    spacing: Sequence[object] | None,
    mirror: Sequence[object] | None,
    slices: object,
    memory: object,
    minutes: object,
    network: str | None,
    bias_correction: Sequence[str] = (),
    filters: Mapping[str, str | Sequence[str]] | None = None,
    normalizers: Mapping[str, str] | None = None,
    missing_channels: bool = False,
    require: Sequence[str] = (),
    fusion: str | Sequence[str] | None = None,
    groups: str | Sequence[Sequence[str]] | None = None,
) -> PlanConstraints:
    from ..planning.constraints import PlanConstraints, fusions_of

    many, most = count(slices, "slices"), memory_bytes(memory)
    return PlanConstraints(
        lengths(spacing),
        axes(mirror),
        many,
        most,
        seconds(minutes),
        network,
        words(bias_correction, "bias_correction"),
        of_channels(filters, "filters"),
        of_channels(normalizers, "normalizers"),
        bool(missing_channels),
        words(require, "require", numbers=False),
        *fusions_of(fusion, _names(groups)),
    )


def words(value: object, what: str, numbers: bool = True) -> tuple[str, ...]:
    """Of a list, or of one alone; ``numbers`` may stand for names."""
    listed = [value] if isinstance(value, str | int) else value
    kinds = (str, int) if numbers else (str,)
    if isinstance(listed, list | tuple):
        found = [str(each) for each in listed if isinstance(each, kinds) and not isinstance(each, bool)]
        if len(found) == len(listed) and all(map(str.strip, found)):
            return tuple(found)
    raise UsageError(f"{what} must be names in a list, found {value!r:.100}")


def of_channels(value: object, what: str) -> tuple[tuple[str, str], ...]:
    """Channel and part, of a dict whose values are one name or several."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise UsageError(f"{what} must map channels to names of parts, found {value!r:.100}")
    return tuple((str(channel), part) for channel, parts in value.items() for part in words(parts, what))


def _names(groups: Any) -> Any:
    if groups is None or isinstance(groups, str):
        return groups
    several = isinstance(groups, list | tuple) and all(isinstance(group, list | tuple) for group in groups)
    if not several or not all(isinstance(name, str) for group in groups for name in group):
        raise UsageError(f"groups must be lists of names of channels, found {groups!r:.100}")
    return groups


def number(value: object, what: str, condition: str, fits: Callable[[float], bool]) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not fits(float(value)):
        raise UsageError(f"{what} must be {condition}, found {value!r:.100}")
    return float(value)


def seconds(minutes: object, what: str = "minutes") -> float | None:
    if minutes is None:
        return None
    return 60 * number(minutes, what, "a number above 0", lambda found: 0 < found < math.inf)


def count(value: object, what: str, least: int = 1) -> int | None:
    if value is None:
        return None
    whole = f"a whole number of {least} or more"
    return int(number(value, what, whole, lambda found: found >= least and found.is_integer()))


def memory_bytes(memory: object) -> int | None:
    from ..core.amounts import read_bytes

    return None if memory is None else read_bytes(str(memory))


def lengths(spacing: Sequence[object] | None) -> tuple[float, float, float] | None:
    if spacing is None:
        return None
    if not isinstance(spacing, Sequence) or len(spacing) != 3:
        raise UsageError(f"spacing must be three numbers (z, y, x), found {spacing!r:.100}")
    z, y, x = (number(each, "spacing", "three numbers of millimetres", lambda found: True) for each in spacing)
    return z, y, x


def axes(mirror: Sequence[object] | None) -> tuple[int, ...] | None:
    if mirror is None:
        return None
    given = mirror if isinstance(mirror, list | tuple) else [mirror]
    some = "some of the axes 0 (z), 1 and 2"
    return tuple(int(number(axis, "mirror", some, lambda found: found in (0, 1, 2))) for axis in given)
