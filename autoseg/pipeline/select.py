"""From trained folds to one model: the best ensemble, its postprocessing, whether it mirrors, packed as a bundle."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from ..bundle.manifest import CrossValidation, Manifest, MirroringTest
from ..bundle.trained import TrainedRuns
from ..bundle.write import write_bundle
from ..core.estimate import Estimate
from ..core.labels import Labels
from ..core.locks import alone
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..core.staple import staple_problem
from ..data.dataset import Dataset
from ..data.folds import Folds
from ..data.label_maps import files_in, write_label_map
from ..errors import UsageError
from ..evaluation.counts import dice
from ..evaluation.learn import Held, Learned, learn
from ..evaluation.pool import Pool
from ..evaluation.scores import Summary
from ..evaluation.selection import Compared, Members, Selection, rank, write_selection
from ..newest import note_made
from ..run_folder import RunFolder
from ..settings import RunSettings
from ..task import Task
from ..workspace import DatasetFolder
from .comparable import trained_alike, unseen_cases
from .compare import Unseen, ensembles, label_map, overlaps_of, reference_of
from .evaluate import Scorer, score_pairs
from .export_bundle import case_scores, cross_validation
from .kept_agreement import selected_quality
from .label_pairs import Pair
from .mirroring import measure_mirroring
from .missing import seen
from .model_quality import ModelQuality
from .pooling import learned_pool
from .predicted_again import Validated
from .pruning import measure_prunings, prunings_of
from .subset_scores import Decide, scores_of_subsets
from .train_fold import kept_estimates

LOG = logging.getLogger("autoseg")


def select(
    files: DatasetFolder,
    *,
    configurations: Sequence[str] | None = None,
    folds: Sequence[str] | None = None,
    mirroring: bool = True,
    settings: RunSettings | None = None,
) -> Selection:
    """Compares what was trained on a dataset and every ensemble of it, and writes the best as ``selected/``.

    ``configurations`` None takes all whose folds have finished; ``folds`` None means all of the cross-validation.
    Corrections are learned and, unless ``mirroring`` is False, mirroring is measured on the cases that the networks had
    not seen. Raises WorkspaceError when nothing, or one that was asked for, is complete; ModelError when models do not
    belong together.
    """
    with alone(files.root / ".select.lock", "select"):
        return _selected(files, configurations, folds, mirroring, settings or RunSettings())


def _selected(
    files: DatasetFolder,
    configurations: Sequence[str] | None,
    folds: Sequence[str] | None,
    mirroring: bool,
    settings: RunSettings,
) -> Selection:
    dataset, splits = files.read_dataset(), files.read_folds()
    splits.refuse_unknown(dataset.keys, files.folds)
    numbers = tuple(folds or map(str, range(len(splits.folds))))
    if not numbers or not all(splits.named(number).validation for number in numbers):
        raise UsageError(f"folds {' '.join(numbers)} cannot be compared: only numbered ones have unseen cases")
    trained, missing = trained_alike(files, dataset, splits, configurations, numbers)
    tasks, threads = {name: each.plan.task(name) for name, each in trained.items()}, settings.threads
    cases = unseen_cases(files, dataset, splits, tasks, numbers)
    compared, decide, pool, blind = _compare(cases, tasks, dataset.labels, splits.patients, threads)
    members, missing = compared[0].members, missing | blind
    learned, held = _learn(cases, members, decide, dataset, threads)

    def shown(name: str, fold: str) -> tuple[RunFolder, tuple[str, ...]]:
        return files.run(name, fold), seen(splits[int(fold)].validation, tasks[name], dataset)

    def validated_of(name: str) -> Validated:
        folds = {fold: shown(name, fold) for fold in numbers}
        return Validated(tasks[name], folds, dataset, splits.patients, settings, kept_estimates(files, tasks[name]))

    mirrored = [name for name in members if mirroring and tasks[name].mirrored]
    tests = {name: measure_mirroring(validated_of(name)) for name in mirrored}
    prunable = [name for name in members if prunings_of(tasks[name].configuration.network)]
    pruning = {name: measure_prunings(validated_of(name)) for name in prunable}
    summary = _validate(files, dataset, splits, cases, held, threads)
    subsets = _kept_subsets(trained[members[0]]) if len(members) == 1 and not learned.corrections else {}
    if not subsets:  # corrections are learned of cases as they are
        withholding = {} if learned.corrections else {name: tasks[name] for name in members}
        subsets = scores_of_subsets(cases, case_scores(summary), withholding, decide, dataset, splits.patients)
    validated = CrossValidation(summary.overall, summary.labels, numbers, subsets)
    whose = len({case.patient for case in cases})
    selection = Selection(
        dataset.name, numbers, len(cases), whose, compared, missing, learned, tests, validated, pruning
    )
    quality = selected_quality(files, trained[members[0]].plan, cases, compared[0], pool, summary, threads)
    _write_model(files, dataset, {name: trained[name] for name in members}, selection, quality)
    selection = replace(selection, recalibration=quality.recalibration)
    write_selection(files.selection, selection)
    note_made(files.selected_made)
    return selection


def _kept_subsets(trained: TrainedRuns) -> dict[str, dict[str, Estimate]]:
    """What validation has scored with channels withheld."""
    found = cross_validation(trained.runs)
    return found.subsets if found else {}


def _compare(
    cases: Sequence[Unseen], tasks: Mapping[str, Task], labels: Labels, patients: Mapping[str, str], workers: int
) -> tuple[tuple[Compared, ...], Decide, Pool | None, dict[str, str]]:
    """The models, best first; what the best predicts of an unseen case; its weights by label, if it has any; and which
    configurations cannot stand alone.

    Where networks see some channels only, ensembles are also tried with weights by label and with STAPLE.
    """
    tried, blind = _able(ensembles(list(tasks)), cases)
    pool, stapled = None, list[Members]()
    if any(task.configuration.channels is not None for task in tasks.values()):
        pool = learned_pool(cases, list(tasks), labels, workers)
        stapled = [members for members in tried if staple_problem(len(members), labels.heads, labels.exclusive) is None]
    scores = dice(overlaps_of(cases, tried, labels, workers, pool, stapled), labels)
    compared = rank(tried, scores, [case.key for case in cases], labels, patients, pool, stapled)
    best = compared[0]
    weighed = pool if best.weights else None
    decide = partial(label_map, members=best.members, labels=labels, pool=weighed, staple=best.stapled)
    return compared, decide, weighed, blind


def _able(tried: Sequence[Members], cases: Sequence[Unseen]) -> tuple[list[Members], dict[str, str]]:
    """The ensembles that predict every case, as others cannot be compared with them; and which single configurations
    do not."""
    blind = {members: sum(not case.seen_by(members) for case in cases) for members in tried}
    why = "{} of {} cases lack channels that it needs; it is compared as part of ensembles"
    alone = {only[0]: why.format(count, len(cases)) for only, count in blind.items() if count and len(only) == 1}
    return [members for members, count in blind.items() if not count], alone


def _learn(
    cases: Sequence[Unseen], members: Members, decide: Decide, dataset: Dataset, workers: int
) -> tuple[Learned, list[Held]]:
    def held(case: Unseen) -> Held:
        decided = decide(case)
        geometry = case.opened(case.seen_by(members))[0].geometry
        reference = reference_of(case, geometry, dataset.labels)
        return Held(decided, reference, geometry, case.fold, case.patient)

    made = progress(ordered_map(held, cases, workers), len(cases), "combining " + " + ".join(members))
    return learn(list(made), dataset.labels, workers)


def _validate(
    files: DatasetFolder,
    dataset: Dataset,
    splits: Folds,
    cases: Sequence[Unseen],
    held: Sequence[Held],
    workers: int,
) -> Summary:
    """Writes the label maps of the chosen model and scores them with every metric.

    Each case is corrected with what was learned without its fold, so that its scores are those of an unseen case.
    """
    folder, labels = files.selection / "validation", dataset.labels
    shutil.rmtree(folder, ignore_errors=True)
    pairs: dict[str, Pair] = {}
    for case, each in zip(cases, held):
        written = files_in(folder, case.key, dataset.file_ending, labels)
        image = dataset.case(case.key).grid_file(dataset.alignment)
        write_label_map(each.label_map, each.geometry, written, labels, like=image)
        pairs[case.key] = case.reference, written
    return score_pairs(pairs, Scorer(labels), folder, patients=splits.patients, workers=workers)


def _write_model(
    files: DatasetFolder,
    dataset: Dataset,
    members: dict[str, TrainedRuns],
    selection: Selection,
    quality: ModelQuality,
) -> None:
    stages = {stage: runs for trained in members.values() for stage, runs in trained.stages.items()}
    first = next(iter(members.values()))
    plan = replace(
        first.plan,
        configurations={
            name: each for trained in members.values() for name, each in trained.plan.configurations.items()
        },
    )
    for name, test in selection.pruning.items():
        if test.network is not None:
            smaller = replace(plan.configurations[name], network=test.network, cost=None)
            plan = replace(plan, configurations={**plan.configurations, name: smaller})
    mirroring: dict[str, MirroringTest] = selection.mirroring
    weights_of = {name: tuple(of.values()) for name, of in (selection.chosen.weights or {}).items()}
    alike = dict.fromkeys(members, 1 / len(members))
    manifest = Manifest(
        name=first.manifest.name,
        configurations={stage: tuple(runs) for stage, runs in stages.items()},
        ensemble={name: sum(of) / len(of) for name, of in weights_of.items()} or alike,
        label_weights=weights_of,
        combined=selection.chosen.combined,
        postprocessing=selection.postprocessing.corrections,
        mirroring=mirroring,
        scores=selection.scores,
        predicted_dice=quality.lines,
        temperatures=quality.recalibration.temperatures if quality.recalibration else {},
        training=quality.training,
        licence=dataset.licence,
        citation=dataset.citation,
    )
    weights = {stage: {fold: run.weights for fold, run in runs.items()} for stage, runs in stages.items()}
    write_bundle(files.selected, manifest, plan, weights, overwrite=True, trusted=files.trusted)
