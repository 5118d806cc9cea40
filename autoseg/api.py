"""The pipeline as plain functions for notebooks: the same code as the commands, with paths and names as arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluation.selection import Selection
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
    from .core.amounts import read_bytes
    from .folds import FoldRules
    from .pipeline import plan_and_preprocess as story
    from .pipeline.decide import Request
    from .planning.wishes import Wishes
    from .settings import RunSettings
    from .workspace import Workspace

    wishes = Wishes(spacing, mirror, slices, None if memory is None else read_bytes(memory), minutes and 60 * minutes)
    return story.plan_and_preprocess(
        Path(folder),
        Workspace(Path(workspace)),
        Request(
            planner=planner,
            plans=None if plans is None else Path(plans),
            wishes=wishes,
            target=target,
            changes=changes,
            settings=settings or RunSettings(),
        ),
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
    from .dataset_names import find_dataset
    from .pipeline import train as story
    from .workspace import Workspace

    root = Workspace(Path(workspace))
    files = root.dataset_folder(find_dataset(dataset, root).name)
    seconds = None if minutes is None else 60 * minutes
    return story.train(
        files,
        str(fold),
        configuration=configuration,
        epochs=epochs,
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
    from .dataset_names import find_dataset
    from .pipeline import select as story
    from .workspace import Workspace

    root = Workspace(Path(workspace))
    files = root.dataset_folder(find_dataset(dataset, root).name)
    chosen = None if folds is None else [str(fold) for fold in folds]
    return story.select(files, configurations=configurations, folds=chosen, settings=settings)


def newest_model(
    dataset: str | None = None, workspace: str | Path = WORKSPACE, *, configuration: str | None = None
) -> Path:
    """Folder of the model that was trained or selected last. Raises WorkspaceError when there is none."""
    from .dataset_names import find_dataset
    from .workspace import Workspace

    root = Workspace(Path(workspace))
    return root.newest_model(find_dataset(dataset, root).name if dataset else None, configuration)


def predict(
    model: Predictor[Any] | str | Path,
    images: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    probabilities: str | None = None,
    tta: str = "auto",
    step: float = 0.5,
    existing: str = "refuse",
    settings: RunSettings | None = None,
) -> PredictReport:
    """Segments image files (or a folder of them) into ``output``; for one image in memory see ``Model.predict``.

    Label maps that an earlier call wrote there are replaced. Other files of these names are refused; ``existing``
    ``"replace"`` replaces them, too, and ``"keep"`` predicts only what is not there, or cannot be used.

    ``probabilities`` (``uint8``, ``uint16`` or ``float32``) are written beside the label maps where asked for.
    ``tta`` is ``auto``, ``none`` or ``full`` (mirror images of every patch are averaged), ``step`` the distance between
    patches as a share of the patch. Raises ModelError or UsageError.
    """
    from .inference.model import Model
    from .inference.options import PredictOptions
    from .layouts import find_images
    from .pipeline import predict as story
    from .settings import RunSettings

    if isinstance(model, str | Path):
        model = Model.read(Path(model), settings=settings or RunSettings())
    paths = [Path(path) for path in ([images] if isinstance(images, str | Path) else images)]
    story.refuse_among_images(paths, Path(output))
    cases, refused = find_images(paths, len(model.plan.channels))
    return story.predict(
        model,
        cases,
        Path(output),
        options=PredictOptions(tta, step),
        probabilities=probabilities,
        existing=existing,
        refused=refused,
    )
