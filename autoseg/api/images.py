"""Functions about new images: segment them, and score what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _arguments as given
from .models import load_model

if TYPE_CHECKING:
    from ..evaluation.scores import Summary
    from ..inference.outputs import Output
    from ..inference.predictor import Predictor
    from ..pipeline.explain import ExplainedMap
    from ..pipeline.predict import PredictReport
    from ..settings import RunSettings


def predict(
    model: Predictor[Any] | str | Path | None,
    images: str | Path | Sequence[str | Path],
    output: str | Path,
    workspace: str | Path | None = None,
    *,
    configuration: str | None = None,
    folds: Sequence[int | str] | None = None,
    modality: str | None = None,
    probabilities: str | None = None,
    outputs: Sequence[str | Output] = (),
    tta: str = "auto",
    step: float = 0.5,
    mc_dropout: int = 0,
    calibrated: bool = False,
    existing: str = "refuse",
    volumes: bool = False,
    report: bool = True,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> PredictReport:
    """Segments image files (or a folder of them) into ``output``; for one image in memory see ``Model.predict``.

    ``model`` is one that was loaded, or whatever ``load_model`` takes: a dataset, a bundle, a folder, a name.

    Label maps that an earlier call wrote there are replaced. Other files of these names are refused; ``existing``
    ``"replace"`` replaces them, too, and ``"keep"`` predicts only what is not there, or cannot be used.

    ``modality`` is the channel that files without a number are, for a model that takes one per case; None: their values
    say it.

    ``probabilities`` (``uint8``, ``uint16`` or ``float32``) and other ``outputs``, by name (``"uncertainty"``) or as
    objects of your own, are written beside the label maps where asked for. ``tta`` is ``auto``, ``none`` or ``full``
    (mirror images of every patch are averaged), ``step`` the distance between patches as a share of the patch.
    ``mc_dropout`` is the number of samples of its dropout that each network is asked for (0: dropout is off), and
    ``calibrated`` corrects probabilities and their entropy by the temperatures that the model holds.
    ``volumes`` writes ``volumes.csv``, in ml. ``quality.csv`` tells how good each is likely to be; ``report`` writes a
    page, ``report.html``, and never fails. Raises ModelError, UsageError or UnknownPartError.
    """
    from ..inference.options import PredictOptions
    from ..inference.outputs import AGREEMENT, chosen
    from ..inference.predictor import Predictor
    from ..pipeline import predict as story
    from ..pipeline.to_predict import images_to_predict
    from ..reporting.story import predictions_report_after as report_after

    wanted = {**chosen(outputs, probabilities, trusted), **chosen([AGREEMENT])}
    listed = images if isinstance(images, list | tuple) else [images]
    paths, folder = [given.path(path, "an image") for path in listed], given.path(output, "the output folder")
    loaded = (
        model
        if isinstance(model, Predictor)
        else load_model(model, workspace, configuration=configuration, folds=folds, settings=settings, trusted=trusted)
    )
    story.refuse_among_images(paths, folder)
    cases, refused = images_to_predict(loaded, paths, given.optional_text(modality, "modality"))
    how = PredictOptions(tta, step, mc_dropout, calibrated)
    done = story.predict(
        loaded, cases, folder, options=how, outputs=wanted, existing=existing, refused=refused, volumes=bool(volumes)
    )
    if report:
        report_after(folder, 1 if loaded.settings.memory else loaded.settings.threads)
    return done


def explain(
    model: Predictor[Any] | str | Path,
    case: str | Path | Sequence[str | Path],
    output: str | Path,
    workspace: str | Path | None = None,
    *,
    methods: Sequence[str] = (),
    labels: Sequence[str] = (),
    configuration: str | None = None,
    folds: Sequence[int | str] | None = None,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> list[ExplainedMap]:
    """Maps of the voxels by which a model decides for labels, and a picture, in ``output``.

    ``model`` is one that was loaded, or whatever ``load_model`` takes; ``case`` a case of the dataset that it was
    trained on, or image files. ``methods`` are names of parts (``["occlusion"]``; none: grad_cam and occlusion),
    ``labels`` names of labels; none takes all that are found. Cases that cannot be explained are left
    out, with a warning; where none can, the reason is raised: UsageError, UnknownPartError, ModelError or DatasetError.
    """
    from ..reporting.explained import explain_all

    root = given.workspace_in(workspace, trusted)
    loaded = model
    if isinstance(loaded, str | Path):
        more = {"configuration": configuration, "folds": folds, "settings": settings, "trusted": trusted}
        loaded = load_model(loaded, workspace, **more)  # type: ignore[arg-type]
    asked = {"methods": given.words(methods, "methods"), "labels": given.words(labels, "labels")}
    cases = [case] if isinstance(case, str | Path) else case
    names = [str(given.path(each, "the case")) for each in cases]
    return explain_all(loaded, names, given.path(output, "the output"), root, **asked)[0]


def evaluate(
    reference: str | Path,
    predictions: str | Path,
    *,
    labels: str | Path | None = None,
    output: str | Path | None = None,
    metrics: Sequence[str] = (),
    tolerance: float = 1.0,
    lesion_dilation: float = 3.0,
    lesion_minimum: float = 0.0,
    group: str | None = None,
    group_file: str | None = None,
    failed: dict[str, str] | None = None,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> Summary:
    """Scores predictions against a reference, two folders of label files or two files.

    ``labels`` is the dataset.json that names the labels, ``output`` a folder for scores.csv and scores.json (None:
    nothing is written), ``tolerance`` that of the surface Dice in mm. ``metrics`` are measured beside the standard
    ones: ``"lesions"`` (``lesion_dilation`` in mm, ``lesion_minimum`` in mm³), ``"confusion"``, ``"roc"``,
    ``"surface_area"``, or modules of your own in a ``trusted`` package. ``group`` and ``group_file`` name the
    patients: intervals then resample these. Raises DatasetError naming a case that cannot be scored, unless a
    dictionary ``failed`` is given, which then holds what is wrong with it; UsageError where probabilities that a
    metric needs are missing, and UnknownPartError.
    """
    from ..pipeline.evaluate import evaluate as story
    from ..settings import RunSettings

    some = "a number of 0 or more, in"
    return story(
        given.path(reference, "the reference"),
        given.path(predictions, "the predictions"),
        labels=given.optional_path(labels, "the labels"),
        output=given.optional_path(output, "the output"),
        failed=failed,
        metrics=given.words(metrics, "metrics", numbers=False),
        tolerance=given.number(tolerance, "tolerance", f"{some} mm", lambda found: 0 <= found <= 1e6),
        lesion_dilation=given.number(lesion_dilation, "lesion_dilation", f"{some} mm", lambda found: 0 <= found <= 1e3),
        lesion_minimum=given.number(lesion_minimum, "lesion_minimum", f"{some} mm³", lambda found: 0 <= found <= 1e9),
        group=group,
        group_file=group_file,
        trusted=trusted,
        workers=(settings or RunSettings()).threads,
    )
