"""The pipeline as plain functions for notebooks: the same code as the commands, with paths and names as arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluation.selection import Selection
    from .inference.outputs import Output
    from .inference.predictor import Predictor
    from .pipeline.predict import PredictReport
    from .plan import Plan
    from .settings import RunSettings

WORKSPACE = "autoseg_workspace"


def plan_and_preprocess(
    folder: str | Path,
    workspace: str | Path = WORKSPACE,
    *,
    planner: str | None = None,
    plans: str | Path | None = None,
    group: str | None = None,
    group_file: str | None = None,
    stratify: str | None = None,
    spacing: tuple[float, float, float] | None = None,
    mirror: tuple[int, ...] | None = None,
    slices: int | None = None,
    memory: str | None = None,
    minutes: float | None = None,
    target: str | None = None,
    changes: Sequence[str] = (),
    settings: RunSettings | None = None,
) -> Plan:
    """Checks, measures, plans and prepares the dataset in ``folder``; returns the plan.

    Unless plan or machine are spoken of, it is a draft that ``train`` completes on its own machine. ``planner`` None
    takes `measured`, unless ``plans`` is nnU-Net's ``nnUNetPlans.json``. ``group`` is a regular expression that names
    the patient in a case name, ``group_file`` a table (``FILE.csv`` or ``FILE.csv:COLUMN``) that does; ``stratify`` is
    ``"labels"`` or such a table of sites, to be spread evenly over the folds. ``spacing`` (z, y, x) in mm replaces the
    median of the cases, ``mirror`` are axes (0 = z) along which images may be mirrored, ``slices`` plans 2.5d with so
    many. ``memory`` (``"8GB"``) and ``minutes`` are what one training may take, on ``target`` if that is not this
    machine (``"a100-40g"``); ``changes`` are those of ``--set`` (``["batch_size=4"]``). Raises DatasetError.
    """
    from .core.files import named_path
    from .data.folds import FoldRules
    from .pipeline import plan_and_preprocess as story
    from .pipeline.make_plan import PlanRequest
    from .planning.constraints import PlanConstraints
    from .settings import RunSettings
    from .workspace import Workspace

    nnunet = None if plans is None else named_path(plans, "plans")
    count = _count(slices, "slices")
    constraints = PlanConstraints(_lengths(spacing), _axes(mirror), count, _bytes(memory), _seconds(minutes))
    return story.plan_and_preprocess(
        named_path(folder, "the dataset's folder"),
        Workspace(named_path(workspace, "the workspace")),
        PlanRequest(planner, nnunet, constraints, target, changes, settings or RunSettings()),
        folds=FoldRules(group, group_file, stratify) if group or group_file or stratify else None,
    )


def train(
    dataset: str,
    fold: int | str,
    workspace: str | Path = WORKSPACE,
    *,
    configuration: str | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    changes: Sequence[str] = (),
    extend: bool = False,
    settings: RunSettings | None = None,
) -> Path:
    """Trains one fold (0-4, ``"all"`` or ``"cv"``), continuing where it was; returns the model's folder.

    Where the plan is a draft, this machine is measured first, for trainings of ``minutes``. A finished fold is left
    alone, or with ``extend`` trained on until ``epochs`` or ``minutes`` in all. ``dataset`` is a name or number known
    to the workspace, ``changes`` are those of ``--set`` (``["batch_size=4"]``). Raises TrainingError, WorkspaceError or
    UsageError.
    """
    from .core.files import named_path
    from .dataset_names import find_dataset
    from .pipeline import train as story
    from .workspace import Workspace

    seconds, length = _seconds(minutes), _count(epochs, "epochs")
    root = Workspace(named_path(workspace, "the workspace"))
    files = root.dataset_folder(find_dataset(_name(dataset), root).name)
    return story.train(
        files,
        str(fold),
        configuration=configuration,
        epochs=length,
        seconds=seconds,
        changes=changes,
        extend=extend,
        settings=settings,
    )


def select(
    dataset: str,
    workspace: str | Path = WORKSPACE,
    *,
    configurations: Sequence[str] | None = None,
    folds: Sequence[int | str] | None = None,
    settings: RunSettings | None = None,
) -> Selection:
    """Compares what was trained on a dataset and every ensemble of it; ``newest_model`` is then the best as one model.

    ``configurations`` and ``folds`` None take all. Raises WorkspaceError, ModelError or UsageError.
    """
    from .core.files import named_path
    from .dataset_names import find_dataset
    from .pipeline import select as story
    from .workspace import Workspace

    root = Workspace(named_path(workspace, "the workspace"))
    files = root.dataset_folder(find_dataset(_name(dataset), root).name)
    chosen = None if folds is None else [str(fold) for fold in folds]
    return story.select(files, configurations=configurations, folds=chosen, settings=settings)


def newest_model(
    dataset: str | None = None, workspace: str | Path = WORKSPACE, *, configuration: str | None = None
) -> Path:
    """Folder of the model that was trained or selected last. Raises WorkspaceError when there is none."""
    from .core.files import named_path
    from .dataset_names import find_dataset
    from .workspace import Workspace

    root = Workspace(named_path(workspace, "the workspace"))
    return root.newest_model(find_dataset(_name(dataset), root).name if dataset else None, configuration)


def predict(
    model: Predictor[Any] | str | Path,
    images: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    probabilities: str | None = None,
    outputs: Sequence[str | Output] = (),
    tta: str = "auto",
    step: float = 0.5,
    existing: str = "refuse",
    settings: RunSettings | None = None,
) -> PredictReport:
    """Segments image files (or a folder of them) into ``output``; for one image in memory see ``Model.predict``.

    Label maps that an earlier call wrote there are replaced. Other files of these names are refused; ``existing``
    ``"replace"`` replaces them, too, and ``"keep"`` predicts only what is not there, or cannot be used.

    ``probabilities`` (``uint8``, ``uint16`` or ``float32``) and other ``outputs``, by name (``"uncertainty"``) or as
    objects of your own, are written beside the label maps where asked for. ``tta`` is ``auto``, ``none`` or ``full``
    (mirror images of every patch are averaged), ``step`` the distance between patches as a share of the patch. Raises
    ModelError, UsageError or UnknownPartError.
    """
    from .core.files import named_path
    from .data.layouts import find_images
    from .inference.model import Model
    from .inference.options import PredictOptions
    from .inference.outputs import chosen
    from .inference.predictor import Predictor
    from .pipeline import predict as story
    from .settings import RunSettings

    wanted = chosen(outputs, probabilities)
    if not isinstance(model, Predictor):
        model = Model.read(model, settings=settings or RunSettings())
    listed = images if isinstance(images, list | tuple) else [images]
    paths, folder = [named_path(path, "an image") for path in listed], named_path(output, "the output folder")
    story.refuse_among_images(paths, folder)
    cases, refused = find_images(paths, len(model.task.channels))
    return story.predict(
        model,
        cases,
        folder,
        options=PredictOptions(tta, step),
        outputs=wanted,
        existing=existing,
        refused=refused,
    )


def _name(dataset: object) -> str:
    from .errors import UsageError

    if not isinstance(dataset, str | Path) or not str(dataset).strip() or "\0" in str(dataset):
        raise UsageError(f"the dataset must be a name, a number as text or a path, found {dataset!r:.100}")
    return str(dataset)


def _number(value: object, what: str, condition: str, fits: Callable[[float], bool]) -> float:
    from .errors import UsageError

    if isinstance(value, bool) or not isinstance(value, Real) or not fits(float(value)):
        raise UsageError(f"{what} must be {condition}, found {value!r:.100}")
    return float(value)


def _seconds(minutes: object) -> float | None:
    if minutes is None:
        return None
    return 60 * _number(minutes, "minutes", "a number above 0", lambda found: 0 < found < math.inf)


def _count(value: object, what: str) -> int | None:
    if value is None:
        return None
    return int(_number(value, what, "a whole number of 1 or more", lambda found: found >= 1 and found.is_integer()))


def _bytes(memory: object) -> int | None:
    from .core.amounts import read_bytes

    return None if memory is None else read_bytes(str(memory))


def _lengths(spacing: Sequence[object] | None) -> tuple[float, float, float] | None:
    from .errors import UsageError

    if spacing is None:
        return None
    if not isinstance(spacing, Sequence) or len(spacing) != 3:
        raise UsageError(f"spacing must be three numbers (z, y, x), found {spacing!r:.100}")
    z, y, x = (_number(each, "spacing", "three numbers of millimetres", lambda found: True) for each in spacing)
    return z, y, x


def _axes(mirror: Sequence[object] | None) -> tuple[int, ...] | None:
    if mirror is None:
        return None
    axes = mirror if isinstance(mirror, list | tuple) else [mirror]
    some = "some of the axes 0 (z), 1 and 2"
    return tuple(int(_number(axis, "mirror", some, lambda found: found in (0, 1, 2))) for axis in axes)
