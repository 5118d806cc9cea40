"""One function per command: parsed flags to a call of the pipeline. Each imports only what it needs."""

from __future__ import annotations

import logging
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from .planning.wishes import Wishes
    from .settings import RunSettings
    from .workspace import DatasetFolder, Workspace

LOG = logging.getLogger("autoseg")


def check(options: Namespace) -> int:
    from .inspection.check import fix, table
    from .inspection.extract import check_dataset
    from .layouts import read_dataset

    dataset = read_dataset(_raw_folder(options))
    if options.fix:
        for done in fix(dataset):
            LOG.info("%s", done)
    measured = _workspace(options).dataset_folder(dataset.name).measured
    problems = check_dataset(dataset, measured, _settings(options).threads)
    errors = [problem for problem in problems if problem.severity == "error"]
    if problems:
        sys.stdout.write(table(problems) + "\n")
    sys.stdout.write(f"{dataset.name}: {len(dataset.cases)} cases, {len(errors)} errors\n")
    return 2 if errors else 0


def fingerprint(options: Namespace) -> None:
    from .pipeline import plan_and_preprocess as story

    story.fingerprint(_raw_folder(options), _workspace(options), settings=_settings(options))


def plan(options: Namespace) -> None:
    import json

    from .core.records import to_json, write_json
    from .interop.nnunet_plans import nnunet_plans
    from .pipeline import plan_and_preprocess as story
    from .pipeline.plan_from_fingerprint import plan_from_fingerprint
    from .planning.explain import explanation

    path, trusted = options.from_fingerprint, tuple(options.trust)
    if (options.dataset is None) == (path is None):
        raise UsageError("plan needs either a DATASET or --from-fingerprint FILE")
    if options.compare:
        return _compare(options)
    if path is None:
        files = _dataset_folder(options)
        planned = story.plan(
            files,
            planner=options.planner,
            group=options.group,
            wishes=_wishes(options),
            changes=options.changes,
            trusted=trusted,
        )
        measured = files.read_fingerprint()
    else:
        described = options.dataset_json or path.with_name("dataset.json")
        name = options.planner or "plain_unet"
        planned, measured = plan_from_fingerprint(
            path, described, planner=name, wishes=_wishes(options), changes=options.changes, trusted=trusted
        )
    if options.explain:
        sys.stdout.write(explanation(planned) + "\n")
    content = nnunet_plans(planned, measured) if options.format == "nnunet" else planned
    if options.output is not None:
        write_json(options.output, content)
    elif (path is not None and not options.explain) or options.format != "autoseg":
        sys.stdout.write(json.dumps(to_json(content), indent=2) + "\n")


def _compare(options: Namespace) -> None:
    from .pipeline import plan_and_preprocess as story
    from .pipeline.plan_from_fingerprint import plan_from_fingerprint
    from .planning.explain import comparison

    path, wishes, changes, trusted = options.from_fingerprint, _wishes(options), options.changes, tuple(options.trust)
    if path is None:
        files = _dataset_folder(options)
        plans = [
            story.decide(files, planner=name, wishes=wishes, changes=changes, trusted=trusted)
            for name in options.compare
        ]
    else:
        described = options.dataset_json or path.with_name("dataset.json")
        plans = [
            plan_from_fingerprint(path, described, planner=name, wishes=wishes, changes=changes, trusted=trusted)[0]
            for name in options.compare
        ]
    sys.stdout.write(comparison(plans) + "\n")


def preprocess(options: Namespace) -> None:
    from .pipeline import plan_and_preprocess as story

    story.preprocess(_dataset_folder(options), configurations=options.configuration, settings=_settings(options))


def plan_and_preprocess(options: Namespace) -> None:
    from .pipeline import plan_and_preprocess as story

    story.plan_and_preprocess(
        _raw_folder(options),
        _workspace(options),
        planner=options.planner,
        group=options.group,
        wishes=_wishes(options),
        changes=options.changes,
        configurations=options.configuration,
        settings=_settings(options),
        trusted=tuple(options.trust),
    )


def train(options: Namespace) -> None:
    from .pipeline import train as story

    if options.epochs is not None and options.epochs < 1:
        raise UsageError(f"--epochs must be at least 1, found {options.epochs}")
    story.train(
        _dataset_folder(options),
        options.fold,
        configuration=options.configuration,
        epochs=options.epochs,
        seconds=options.time,
        changes=options.changes,
        checkpoint_every=options.checkpoint_every,
        settings=_settings(options),
        trusted=tuple(options.trust),
    )


def predict(options: Namespace) -> int:
    from .dataset_names import find_dataset
    from .inference.model import Model
    from .layouts import find_images
    from .pipeline import predict as story

    workspace = _workspace(options)
    named = find_dataset(options.dataset, workspace).name if options.dataset else None
    folder = options.model or workspace.newest_model(named, options.configuration)
    LOG.info("model: %s", folder)
    model = Model.read(folder, options.folds, settings=_settings(options), trusted=tuple(options.trust))
    cases = find_images(options.input, len(model.plan.channels))
    report = story.predict(
        model,
        cases,
        options.output,
        probabilities=options.probabilities,
        mirroring=not options.no_mirroring,
        overwrite=not options.resume,
    )
    return 1 if report.failed else 0


def evaluate(options: Namespace) -> None:
    from .evaluation.scores import table
    from .pipeline import evaluate as story

    summary = story.evaluate(
        options.reference,
        options.predictions,
        labels=options.labels,
        output=options.output,
        tolerance=options.tolerance,
        workers=_settings(options).threads,
    )
    sys.stdout.write(table(summary) + "\n")


def demo(options: Namespace) -> None:
    from .pipeline import demo as story

    sys.stdout.write(story.demo(options.folder, settings=_settings(options)) + "\n")


def _settings(options: Namespace) -> RunSettings:
    from .settings import RunSettings

    if options.threads is not None and options.threads < 1:
        raise UsageError(f"--threads must be at least 1, found {options.threads}")
    given = {"threads": options.threads} if options.threads else {}
    return RunSettings(device=options.device, precision=options.precision, seed=getattr(options, "seed", 0), **given)


def _wishes(options: Namespace) -> Wishes:
    from .planning.wishes import Wishes

    return Wishes(spacing=options.spacing, mirror=options.mirror)


def _workspace(options: Namespace) -> Workspace:
    from .workspace import Workspace

    return Workspace(options.workspace)


def _raw_folder(options: Namespace) -> Path:
    """The folder that holds DATASET's images."""
    from .dataset_names import find_dataset

    return find_dataset(options.dataset, _workspace(options)).folder


def _dataset_folder(options: Namespace) -> DatasetFolder:
    """What the workspace holds for DATASET."""
    from .dataset_names import find_dataset

    workspace = _workspace(options)
    return workspace.dataset_folder(find_dataset(options.dataset, workspace).name)
