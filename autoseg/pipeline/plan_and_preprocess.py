"""From a dataset folder to a plan and prepared cases."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from threadpoolctl import threadpool_limits

from ..alignment.record import AlignmentRequest
from ..core.channels import channel_number
from ..core.files import remove_unfinished
from ..core.locks import alone
from ..core.names import counted, first_of
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..core.records import write_json
from ..data.dataset import Case, Dataset
from ..data.fingerprint import Fingerprint
from ..data.folds import FoldRules
from ..data.images import read_case
from ..data.label_maps import read_label_map
from ..data.layouts import NO_NAMES, Names
from ..errors import AutosegError, DatasetError, ImageFileError, WorkspaceError
from ..inspection.alignments import with_alignment
from ..inspection.check import check_headers, read_headers
from ..inspection.extract import extract_fingerprint
from ..inspection.problem import Problem, problem_table
from ..plan import Plan
from ..planning.intensities import read_wishes
from ..planning.missing import required_channels
from ..preprocessing.estimates import Estimates, estimates_of, remove_others
from ..preprocessing.filtering import names_of_filters
from ..preprocessing.keys import preparation_keys, prepared_as
from ..preprocessing.prepare import prepare
from ..preprocessing.sizes import impossible_cases
from ..preprocessing.store import OLDER, CaseStore
from ..run_status import is_held
from ..settings import RunSettings
from ..task import Task
from ..workspace import DatasetFolder, Workspace
from .check import alignment_of_before
from .make_plan import PlanRequest, draft, make_plan, planner_of
from .modalities import read_with_modalities, tell_unpaired
from .plan_file import is_measured, write_plan
from .plan_folds import decide_folds, write_folds

LOG = logging.getLogger("autoseg")
MOST_SHOWN = 10  # problems; `autoseg check` shows all


def plan_and_preprocess(
    folder: Path,
    workspace: Workspace,
    request: PlanRequest,
    *,
    folds: FoldRules | None = None,
    configurations: Sequence[str] | None = None,
    alignment: AlignmentRequest | None = None,
    modality_file: str | None = None,
    names: Names = NO_NAMES,
) -> Plan:
    """Checks and measures the dataset in ``folder``, decides the plan, and prepares every case. Resumable.

    Of a planner that measures machines this is a draft, with what preparing needs, unless the request says more or the
    plan of before was measured. ``folds`` None keeps the rules of before, if any; ``configurations`` None prepares all
    that were planned. ``alignment`` is that of ``fingerprint``. ``modality_file`` is a table that names the one channel
    each case has, ``names`` are for channels and labels; see ``read_with_modalities``. Raises DatasetError with a table
    of all problems.
    """
    # What cannot be planned is refused before images are read.
    asked, files = request.constraints, workspace.folder_for(folder)
    wished = asked.of_channels or asked.require or (asked.part, asked.fusion, asked.beside) != (None, None, ())
    planner_of(request)
    if wished or alignment is not None:
        channels = read_with_modalities(folder, modality_file, names, files).channels
        planner_of(request, channels)
        read_wishes(asked, channels, request.trusted)
        required_channels(channels, asked)
        if alignment is not None and alignment.reference is not None:
            channel_number(alignment.reference, channels, "--reference")
    with alone(files.plan_lock, "plan_and_preprocess"):
        dataset, measured = fingerprint(
            folder, workspace, settings=request.settings, alignment=alignment, modality_file=modality_file, names=names
        )
        result = plan_or_draft(files, dataset, measured, request, folds=folds, configurations=configurations)
        preprocess(files, dataset, measured, result, configurations=configurations, settings=request.settings)
        if result.draft:
            LOG.info("data are prepared. Network and batch are chosen when you run `autoseg train %s 0`", dataset.name)
    return result


def fingerprint(
    folder: Path,
    workspace: Workspace,
    *,
    settings: RunSettings,
    alignment: AlignmentRequest | None = None,
    modality_file: str | None = None,
    names: Names = NO_NAMES,
) -> tuple[Dataset, Fingerprint]:
    """Reads the layout, checks every file, measures every case; cases that did not change are not read again.

    ``alignment`` is what is asked for, None: the same as before. What was decided stands in the dataset, and how
    channels were registered in its cases. Raises UsageError for a channel that there is not.
    """
    files = workspace.folder_for(folder)
    dataset = read_with_modalities(folder, modality_file, names, files)
    channels = ", ".join(dataset.channels)
    LOG.info("%s: %s, channels %s", dataset.name, counted(len(dataset.cases), "case"), channels)
    tell_unpaired(dataset)
    headers = read_headers(dataset, settings.threads)
    asked = alignment_of_before(files, dataset) if alignment is None else alignment
    dataset = with_alignment(dataset, headers, asked)
    if alignment is None and asked.registers:
        LOG.info("channels are registered as before (--align %s); --align header leaves that out", asked.method)
    report(check_headers(dataset, settings.threads, headers), dataset)
    remove_unfinished(files.measured)
    measured, problems = extract_fingerprint(dataset, files.measured, settings.threads, unfit=())
    report(problems, dataset)
    registered = (replace(case, registrations=measured.cases[case.key].registrations) for case in dataset.cases)
    dataset = replace(dataset, cases=tuple(registered))
    if (before := _read_from(files)) not in (None, dataset.folder):
        LOG.warning("%s was read from %s before; this folder replaces it", dataset.name, before)
    write_json(files.dataset, dataset, sealed=True)
    write_json(files.fingerprint, measured, sealed=True)
    return dataset, measured


def _read_from(files: DatasetFolder) -> str | None:
    """The folder that the dataset was read from before; None where that is not known."""
    try:
        return files.read_dataset().folder
    except AutosegError:  # never read, or damaged: it is written anew
        return None


def report(problems: list[Problem], dataset: Dataset) -> None:
    """Shows notes; raises DatasetError with the whole table when there is an error among the problems."""
    if not problems:
        return
    text = problem_table(problems, MOST_SHOWN)
    if any(problem.fixable for problem in problems):
        text += "\n`autoseg check DATASET --fix` repairs what is marked as fixable"
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise DatasetError(f"{dataset.name}: {counted(len(errors), 'error')}\n{text}")
    LOG.info("%s: %s\n%s", dataset.name, counted(len(problems), "note"), text)


def plan(
    files: DatasetFolder,
    dataset: Dataset,
    measured: Fingerprint,
    request: PlanRequest,
    *,
    folds: FoldRules | None = None,
) -> Plan:
    """Decides plan and folds and writes them; a plan that differs is kept beside the new one as plan.old.json."""
    decided = decide_folds(
        files, dataset, measured, folds, request.plans
    )  # may refuse the rules: before the machine is measured
    result = make_plan(request, dataset, measured, files.steps)
    write_plan(files, result)
    write_folds(files, dataset, measured, decided)
    return result


def plan_or_draft(
    files: DatasetFolder,
    dataset: Dataset,
    measured: Fingerprint,
    request: PlanRequest,
    *,
    folds: FoldRules | None = None,
    configurations: Sequence[str] | None = None,
) -> Plan:
    """Decides and writes both plan and folds; see ``plan_and_preprocess`` for when the plan is a draft."""
    result = draft(request, dataset, measured)
    if result is None or is_measured(files, result.planner) or {*(configurations or ())} - {*result.configurations}:
        return plan(files, dataset, measured, request, folds=folds)
    decided = decide_folds(files, dataset, measured, folds)
    write_plan(files, result)
    write_folds(files, dataset, measured, decided)
    return result


def preprocess(
    files: DatasetFolder,
    dataset: Dataset,
    measured: Fingerprint,
    planned: Plan,
    *,
    configurations: Sequence[str] | None = None,
    settings: RunSettings,
    only_missing: bool = False,
) -> None:
    """Prepares every case for every configuration; a case whose files and plan did not change is not redone.

    Configurations that look at the same grid share its cases, and an earlier stage is prepared with the one it serves.
    ``only_missing`` leaves cases alone that were prepared for other files or another plan, too. What is damaged is
    prepared anew in any case.
    """
    wanted = [planned.configuration(name)[0] for name in configurations or planned.configurations]
    stages = [stage for name in wanted for stage in planned.stages(name)]
    remove_others(files.estimates, {case.content for case in measured.cases.values()})
    for name in dict.fromkeys(prepared_as(planned, stage) for stage in stages):
        task = planned.task(name)
        _refuse_impossible(measured, task)
        store = CaseStore(files.prepared(name), task.configuration.patch_size)
        remove_unfinished(store.folder)
        keys = preparation_keys(measured, task)
        seen = look_at(store, dataset.keys, settings.threads)
        _tell_damages(name, [(key, found) for key, (_, found) in seen.items() if found])
        todo = [
            case
            for case in dataset.cases
            if seen[case.key][1] is not None or not (only_missing or seen[case.key][0] == keys[case.key])
        ]
        if {case.key for case in todo} & {*store.keys()}:
            _refuse_while_trained(
                files, [other for other in planned.configurations if prepared_as(planned, other) == name]
            )

        estimates = estimates_of(files.estimates, measured)
        work = partial(_prepare_one, task=task, store=store, keys=keys, estimates=estimates)
        filters = names_of_filters(task.configuration, task.channels)
        if filters and todo:
            LOG.info("%s: filters are applied first (%s); what takes long is kept for the next time", name, filters)
            for folder in files.estimates.glob("*"):
                remove_unfinished(folder)
        what = f"preparing {name}" + (" with filters" if filters else "")
        with threadpool_limits(1, user_api="blas"):  # cases are spread over threads already
            for _ in progress(ordered_map(work, todo, settings.threads), len(todo), what):
                pass
        there = len(dataset.cases) - len(todo)
        LOG.info("%s: %s prepared, %d were up to date", name, counted(len(todo), "case"), there)


def _refuse_while_trained(files: DatasetFolder, configurations: Sequence[str]) -> None:
    """A training reads its cases from the disk to its end: they must not become others under its hands."""
    for name in configurations:
        for run in files.folds_of(name):
            if is_held(run):
                raise WorkspaceError(
                    f"the cases of {name} are to be prepared otherwise, but {run.root} is being trained on them "
                    "(`autoseg status`); wait for it or stop it, then run the same command again"
                )


def look_at(store: CaseStore, keys: Sequence[str], workers: int) -> dict[str, tuple[str | None, str | None]]:
    """``CaseStore.look`` for every case.

    Whatever was prepared is read once per process, before anything is made of it: 0.4 ms for a small case, a second
    for 2 GB of large ones where the disk keeps up, which is 1 to 3 % of what preparing took. What memory holds of it
    is then there when training reads it.
    """
    looks = progress(ordered_map(store.look, keys, workers), len(keys), f"checking {store.folder.name}")
    return dict(zip(keys, looks))


def _tell_damages(name: str, damages: Sequence[tuple[str, str]]) -> None:
    for key, found in damages:
        if found != OLDER:
            LOG.warning("case %s: %s; it is prepared anew", key, found)
    if older := sum(found == OLDER for _, found in damages):
        LOG.info("%s: %d cases are of another version, without checksums; they are prepared anew", name, older)


def _prepare_one(
    case: Case, *, task: Task, store: CaseStore, keys: dict[str, str], estimates: Mapping[str, Estimates]
) -> None:
    try:
        image = read_case(case, task.alignment)
        labels, _ = read_label_map(case.label_files, task.labels, image.geometry)
        prepared = prepare(image, labels, task, estimates[case.key])
    except (DatasetError, ImageFileError) as error:
        raise DatasetError(f"case {case.key}: {error}") from None
    store.write(case.key, prepared, keys[case.key])


def _refuse_impossible(measured: Fingerprint, task: Task) -> None:
    """Raises DatasetError naming every case that is too large to be prepared, before any is."""
    wrong = impossible_cases(measured.cases, task)
    if wrong:
        told = first_of([f"case {key}: {what}" for key, what in wrong.items()], 5)
        raise DatasetError(f"{len(wrong)} of {len(measured.cases)} cases cannot be prepared for {task.name}:\n{told}")
