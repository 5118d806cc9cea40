"""Functions about datasets: check, convert, plan and prepare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import _arguments as given

if TYPE_CHECKING:
    from ..inspection.problem import Problem
    from ..plan import Plan
    from ..settings import RunSettings


def check(
    dataset: str | Path,
    workspace: str | Path | None = None,
    *,
    fix: bool = False,
    modality_file: str | None = None,
    channels: Sequence[str] = (),
    labels: Sequence[str] = (),
    settings: RunSettings | None = None,
) -> list[Problem]:
    """Every problem of every case, with what to do; of ``severity`` "error" or "note".

    ``fix`` repairs what is only rounding in a header; ``modality_file``, ``channels`` and ``labels`` are those of
    ``plan_and_preprocess``. Raises DatasetError where there is no dataset.
    """
    from ..dataset_names import find_dataset
    from ..pipeline.check import check as story
    from ..pipeline.modalities import read_with_modalities
    from ..settings import RunSettings

    root = given.workspace_in(workspace)
    table = given.optional_text(modality_file, "modality_file")
    names = given.names(channels, labels)
    folder = find_dataset(given.name(dataset), root).folder
    files = root.dataset_folder(folder.absolute().name)
    found = read_with_modalities(folder, table, names, files)
    return story(found, files, fix=fix, settings=settings or RunSettings())[0]


def convert(
    kind: str | Path,
    source: str | Path,
    target: str | Path,
    *,
    channels: Mapping[str, str] | None = None,
    label: str | None = None,
    keep: Mapping[str, Sequence[int]] | None = None,
    leave_out: bool = False,
    keep_names: bool = False,
    keep_headers: bool = False,
    series: Sequence[str | int] = (),
    newest: bool = False,
    table: str | Path | None = None,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> tuple[int, int]:
    """Writes the Decathlon task, BIDS folder or DICOM series in ``source`` as the dataset ``target``.

    Returns how many labelled and how many unlabelled cases it has. ``kind`` is ``"msd"``, ``"bids"``, ``"dicom"`` or a
    JSON file that says how files are named; ``channels`` maps names to patterns of files, ``label`` is the pattern of
    label maps, ``keep`` maps labels to be kept to their values. ``leave_out`` goes on without the cases that cannot be
    converted, ``table`` is a CSV file to write that says which case is which. Where several DICOM series of a study
    fit, ``series`` are numbers or UIDs of those to take, and ``newest`` takes the one acquired last. Raises
    DatasetError.
    """
    from ..interop.conversion import ConversionOptions
    from ..pipeline.convert import convert as story

    labels = {name: tuple(values) for name, values in (keep or {}).items()}
    return story(
        str(kind),
        given.path(source, "the source"),
        given.path(target, "the target"),
        wanted=ConversionOptions(
            dict(channels or {}), label, labels, keep_names, keep_headers, given.words(series, "series"), newest
        ),
        leave_out=leave_out,
        table=given.optional_path(table, "the table"),
        settings=settings,
        trusted=trusted,
    )


def plan_and_preprocess(
    folder: str | Path,
    workspace: str | Path | None = None,
    *,
    planner: str | None = None,
    plans: str | Path | None = None,
    group: str | None = None,
    group_file: str | None = None,
    stratify: str | None = None,
    spacing: tuple[float, float, float] | None = None,
    mirror: tuple[int, ...] | None = None,
    slices: int | None = None,
    network: str | None = None,
    bias_correction: Sequence[str] = (),
    filters: Mapping[str, str | Sequence[str]] | None = None,
    normalizers: Mapping[str, str] | None = None,
    missing_channels: bool = False,
    require: Sequence[str] = (),
    fusion: str | Sequence[str] | None = None,
    groups: str | Sequence[Sequence[str]] | None = None,
    memory: str | None = None,
    minutes: float | None = None,
    target: str | None = None,
    changes: Sequence[str] = (),
    configurations: Sequence[str] | None = None,
    align: str | None = None,
    reference: str | int | None = None,
    modality_file: str | None = None,
    report: bool = True,
    channels: Sequence[str] = (),
    labels: Sequence[str] = (),
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> Plan:
    """Checks, measures, plans and prepares the dataset in ``folder``; returns the plan.

    Unless plan or machine are spoken of, it is a draft that ``train`` completes on its own machine. ``planner`` None
    takes `measured`, unless ``plans`` is nnU-Net's ``nnUNetPlans.json`` or a model. ``group`` is a regular expression
    that names the patient in a case name, ``group_file`` a table (``FILE.csv`` or ``FILE.csv:COLUMN``) that does;
    ``stratify`` is ``"labels"`` or such a table of sites, to be spread evenly over the folds. ``spacing`` (z, y, x) in
    mm replaces the median of the cases, ``mirror`` are axes (0 = z) along which images may be mirrored, ``slices``
    plans 2.5d with so many, ``network`` names the part to plan instead of the planner's own networks, if need be with
    values of its fields (``"modular_unet:block=dense,norm=group"``). ``bias_correction`` are channels to
    be corrected by N4 (``["FLAIR"]``, or ``"all"``), ``filters`` and ``normalizers`` map channels to names of parts
    (``{"T1": ["median"]}``, ``{"PET": "pet_suv"}``). ``missing_channels`` plans for cases that lack any channel but
    those of ``require``, although no training case does. ``fusion`` is where channels are combined
    (``"middle:attention"``: by encoders, one for each of ``groups``, ``[["T1", "T1ce"], ["FLAIR"]]``, or for each
    channel; ``"decision"``: by a network each; ``"unpaired"``: each case has one of them; of several in a list each is
    planned, ``["input", "middle"]``). ``memory`` (``"8GB"``) and ``minutes`` are what one training may take, on
    ``target`` if that is not this machine (``"a100-40g"``); ``changes`` are those of ``--set`` (``["batch_size=4"]``).
    ``configurations`` None prepares all. Channels come onto the grid of ``reference``, a name or number, or else
    onto that of the label maps, by their headers (``align="header"``); with ``align`` ``"rigid"`` or
    ``"affine"`` they are registered besides; None for both is what was asked for before.
    ``modality_file`` is a table (``FILE.csv`` or ``FILE.csv:COLUMN``) that names the channel of cases that have one
    each. ``channels`` and ``labels`` name those of a folder without dataset.json, the labels in the order of their
    values and without the background. ``report`` writes the dataset's page at the end, and never fails; it has no
    pictures before something was trained, which would take longer. Raises DatasetError.
    """
    from ..pipeline import plan_and_preprocess as story
    from ..reporting.story import report_after

    of_channels = bias_correction, filters, normalizers, missing_channels, require, fusion, groups
    constraints = given.constraints(spacing, mirror, slices, memory, minutes, network, *of_channels)
    root, folds = given.workspace_in(workspace, trusted), given.fold_rules(group, group_file, stratify)
    request = given.plan_request(planner, plans, constraints, target, changes, settings, root)
    table, names = given.optional_text(modality_file, "modality_file"), given.names(channels, labels)
    raw, grid = given.path(folder, "the dataset's folder"), given.alignment(align, reference)
    planned = story.plan_and_preprocess(
        raw, root, request, folds=folds, configurations=configurations, alignment=grid, modality_file=table, names=names
    )
    if report:
        files = root.folder_for(raw)
        report_after(files, request.settings.threads, pictures=bool(files.trained()))
    return planned
