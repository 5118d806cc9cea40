"""Functions about trained models: find, load, export, import and install them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from . import _arguments as given

if TYPE_CHECKING:
    from ..inference.predictor import Predictor
    from ..settings import RunSettings

FORMATS = ("autoseg", "nnunet")


def load_model(
    model: str | Path | None = None,
    workspace: str | Path | None = None,
    *,
    configuration: str | None = None,
    folds: Sequence[int | str] | None = None,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> Predictor[Any]:
    """Reads a model, to predict with: ``load_model("Dataset004_Hippocampus").predict(image)``.

    ``model`` is what ``autoseg predict -m`` takes: a dataset (what was selected or trained on it last), a bundle, a
    folder of trained folds or the name of an installed model; None is the only model of the workspace. ``folds`` None
    takes all that have finished. Raises UsageError, ModelError or WorkspaceError.
    """
    from ..inference.model import Model
    from ..settings import RunSettings

    found = _found(model, workspace, configuration)
    return Model.read(found, given.fold_names(folds), settings=settings or RunSettings(), trusted=trusted)


def newest_model(
    dataset: str | Path | None = None, workspace: str | Path | None = None, *, configuration: str | None = None
) -> Path:
    """Folder of the model that was trained or selected last. Raises WorkspaceError when there is none."""
    from ..newest import newest_model as story

    root = given.workspace_in(workspace)
    named = None if dataset is None else given.dataset_in(dataset, root).root.name
    return story(root, named, configuration)


def info(
    model: str | Path | None = None,
    workspace: str | Path | None = None,
    *,
    configuration: str | None = None,
    trusted: tuple[str, ...] = (),
) -> str:
    """What a model is, as text: channels, labels, folds, scores, licence. None lists the models of the workspace."""
    if model is None:
        if configuration is not None:
            raise UsageError("the configuration needs a model: a dataset of which it was trained")
        from ..pipeline.models import list_models, model_table

        root = given.workspace_in(workspace, trusted)
        return model_table(list_models(root), root)
    from ..bundle.card import card
    from ..bundle.trained import read_trained
    from ..pipeline.export_bundle import describe

    trained = read_trained(_found(model, workspace, configuration), trusted=trusted)
    return card(trained, describe(trained))


def export(
    model: str | Path,
    output: str | Path | None = None,
    workspace: str | Path | None = None,
    *,
    format: str = "autoseg",
    configuration: str | None = None,
    folds: Sequence[int | str] | None = None,
    licence: str | None = None,
    citation: str | None = None,
    trusted: tuple[str, ...] = (),
) -> tuple[Path, ...]:
    """Packs a model into one file that works elsewhere, or with ``format`` "nnunet" into folders that nnU-Net reads.

    Returns what was written: by default ``<name>.zip`` in the current folder. ``licence`` and ``citation`` replace what
    the model or its dataset says. Raises ModelError.
    """
    from ..interop.nnunet_export import export_nnunet
    from ..pipeline import export_bundle as story

    if format not in FORMATS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}, found {format!r:.100}")
    found, target = _found(model, workspace, configuration), given.optional_path(output, "the output")
    named, chosen = {"licence": licence, "citation": citation}, given.fold_names(folds)
    if format == "autoseg":
        return (story.export_bundle(found, target, folds=chosen, trusted=trusted, **named)[0],)
    trained, manifest = story.described(found, folds=chosen, trusted=trusted, **named)
    return tuple(export_nnunet(trained, manifest, target or Path(f"{manifest.name}_nnunet")))


def import_model(
    model: str | Path,
    output: str | Path | None = None,
    workspace: str | Path | None = None,
    *,
    configuration: str | None = None,
    folds: Sequence[int | str] | None = None,
    checkpoint: str = "checkpoint_final.pth",
) -> Path:
    """Makes an autoseg model of one that nnU-Net trained (its folder, or a zip) and returns where it lies.

    ``output`` None is the workspace's folder of models. Nothing of the source is executed. Raises ModelError.
    """
    from ..interop.nnunet_model import import_nnunet

    bundle = import_nnunet(
        given.path(model, "the model"),
        given.optional_path(output, "the output"),
        into=given.workspace_in(workspace).models,
        configuration=configuration,
        folds=given.fold_names(folds),
        checkpoint=checkpoint,
    )
    return bundle.path


def install(
    source: str | Path,
    workspace: str | Path | None = None,
    *,
    into: str | Path | None = None,
    sha256: str | None = None,
    trusted: tuple[str, ...] = (),
) -> Path:
    """Checks the bundle in a file or behind an https address and installs it; returns its folder.

    ``into`` None is the workspace's folder of models, where ``load_model`` finds it by name. ``sha256`` is that of the
    zip, as its author published it. Raises ModelError, having written nothing.
    """
    from ..bundle.install import install as story

    folder = given.optional_path(into, "the folder") or given.workspace_in(workspace).models
    return story(str(source), folder, sha256=sha256, trusted=trusted)


def _found(model: object, workspace: str | Path | None, configuration: str | None) -> Path:
    """See ``load_model``."""
    from ..model_names import find_model, only_model

    root = given.workspace_in(workspace)
    if model is None:
        return only_model(root, configuration)
    if not isinstance(model, str | Path) or not str(model).strip() or "\0" in str(model):
        raise UsageError(f"the model must be a name or a path, found {model!r:.100}")
    return find_model(str(model), root, configuration)
