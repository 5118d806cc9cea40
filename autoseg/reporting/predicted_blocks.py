"""The page of a folder of predictions: how sure each is, what is unlike the training data, volumes, pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ..core.machine import available_bytes
from ..core.names import counted
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..data.images import read_case
from ..data.label_maps import files_in, read_label_map
from ..errors import AutosegError
from ..evaluation.quality_table import Quality
from ..parts.readers import read_file
from .blocks import Block, CasePicture, Column, Facts, Notice, Pictures, Section, Table, Text, number
from .cases import PIXELS
from .pictures import UNSURE, colours_of, drawing_of, how_seen, legend, picture, unsure
from .predicted_cases import MeasuredCase, bytes_of, measure
from .predictions import PredictionsSource
from .room import MOST_VOLUMES, TOLD, fitting, some
from .volumes import pack

DRAWN = 5  # cases
SHARE_OF_MEMORY = 0.5  # of what is available, for all cases that are looked at together
NOTHING = Quality(None)
AGREEMENT = (
    "Agreement is 2 sum(p y) / (sum(p) + sum(y)) over all voxels, where y is 1 where the label was predicted and p its "
    "probability there: the Dice of the label with what the model thinks of it, 1 where it is sure of every voxel."
)
FOLD_DICE = (
    "Dice between folds is the mean Dice of what any two networks predict, each by itself; it shows what they do not "
    "agree about, and no line is learned from it, since in cross-validation one network predicts a case."
)


def prediction_sections(source: PredictionsSource) -> tuple[Section, ...]:
    """Those that have something to show."""
    work: Callable[..., MeasuredCase | str] = partial(measure, source=source)
    cases = source.record.cases
    room = SHARE_OF_MEMORY * available_bytes()
    some_at_once = ordered_map(work, cases, source.threads, 0, size=bytes_of, room=room)
    results = list(progress(some_at_once, len(cases), "measuring predictions"))
    measured = [each for each in results if isinstance(each, MeasuredCase)]
    measured.sort(key=lambda each: (doubt(each, source), -len(each.unlike), each.case.key))
    wrong = [f"case {case.key}: {each}" for case, each in zip(cases, results) if isinstance(each, str)]
    found = (
        Section("quality", "Which of them to look at", tuple(_quality(source, measured, wrong))),
        Section("pictures", "The most doubtful cases", tuple(_pictures(source, measured[:DRAWN]))),
        Section("volumes", "Volumes and components", tuple(_volumes(source, measured))),
    )
    return tuple(section for section in found if section.blocks)


def doubt(measured: MeasuredCase, source: PredictionsSource) -> float:
    """The lowest predicted Dice, or agreement, of its labels: 0 for one that is missing and never was in training."""
    always = source.record.training.labels if source.record.training else ()
    found = [1.0]
    for label, quality in source.quality.get(measured.case.key, {}).items():
        known = quality.agreement if quality.predicted_dice is None else quality.predicted_dice
        found.append(known if known is not None else 0.0 if label in always else 1.0)
    return min(found)


def _quality(source: PredictionsSource, measured: Sequence[MeasuredCase], wrong: Sequence[str]) -> list[Block]:
    record, flagged = source.record, sum(bool(each.unlike) for each in measured)
    facts = [
        ("model", f"{record.model}, {counted(record.networks, 'network')}"),
        ("cases", str(len(measured))),
        ("labels", ", ".join(record.labels.foreground)),
    ]
    if record.training:
        facts.append(("unlike the training data", counted(flagged, "case")))
    blocks: list[Block] = [Facts(tuple(facts)), *_told(source, measured, wrong)]
    if any(source.quality.get(each.case.key) for each in measured):
        blocks.append(_quality_table(source, measured))
        blocks += [Text(text) for text in _explained(source)]
        if record.lines:
            blocks.append(_line_table(source))
    rows = [(each.case.key, *what) for each in measured for what in each.unlike]
    if rows:
        columns = (Column("case"), Column("what", chosen=True), Column("found"), Column("training data"))
        note = (
            f"From the least to the largest of {counted(record.training.cases, 'training case')}."
            if record.training
            else ""
        )
        blocks.append(Table("Unlike the training data", columns, tuple(rows), note))
    return blocks


def _told(source: PredictionsSource, measured: Sequence[MeasuredCase], wrong: Sequence[str]) -> list[Block]:
    """What is missing."""
    found: list[str] = []
    if wrong:
        found.append(f"{counted(len(wrong), 'case')} without a label map that can be read: {some(wrong)}")
    unread = [f"case {each.case.key}: {each.notice}" for each in measured if each.notice]
    if unread:
        found.append(f"{counted(len(unread), 'image')} could not be looked at: {some(unread)}")
    if source.record.training is None:
        found.append(
            "What the training data were like is not known of this model; so no case is told to be unlike them. Models "
            "that this autoseg exports or selects know it."
        )
    without = sum(not source.quality.get(each.case.key) for each in measured)
    if without:
        found.append(
            f"Of {counted(without, 'case')} it was not measured how sure the model is: an earlier autoseg predicted "
            "them; predict anew to measure it."
        )
    if not source.record.lines and without < len(measured):
        found.append(
            "No Dice is predicted: of this model it is not known how agreement and Dice belong together. Train the "
            "folds of a cross-validation with this autoseg to learn it."
        )
    return [Notice(text) for text in found]


def _explained(source: PredictionsSource) -> list[str]:
    found = [AGREEMENT]
    if source.record.lines:
        several = source.record.networks > 1
        here = f" There one network predicted each case, here the mean of {source.record.networks}." if several else ""
        found.append(
            "The predicted Dice follows from the agreement by a line that was learned on the cases of the "
            "cross-validation. Its typical error is the mean absolute error there, each patient predicted by a line "
            f"that was learned without them.{here} It speaks of images like those; of others it may say anything."
        )
    if any(quality.fold_dice is not None for rows in source.quality.values() for quality in rows.values()):
        found.append(FOLD_DICE)
    return found


def _quality_table(source: PredictionsSource, measured: Sequence[MeasuredCase]) -> Table:
    lines, rows = source.record.lines, []
    for each in measured:
        known = source.quality.get(each.case.key, {})
        for label in source.record.labels.foreground:
            quality = known.get(label, NOTHING)
            error = lines[label].error if label in lines and quality.predicted_dice is not None else None
            numbers = (quality.predicted_dice, error, quality.agreement, quality.fold_dice)
            rows.append((each.case.key, label, *map(number, numbers), len(each.unlike)))
    columns = (
        Column("case"),
        Column("label", chosen=True),
        Column("predicted Dice", number=True),
        Column("typical error", number=True, hint="mean absolute error on the cross-validation"),
        Column("agreement", number=True),
        Column("Dice between folds", number=True),
        Column("unlike training", number=True, hint="how much of the case is unlike the training data"),
    )
    note = "The most doubtful case comes first. Without a number: the label is not predicted, or it was not measured."
    return Table("How good they are likely to be", columns, tuple(rows), note)


def _line_table(source: PredictionsSource) -> Table:
    rows = [
        (label, line.cases, number(line.r), number(line.error), "all labels" if line.pooled else "this label")
        for label, line in source.record.lines.items()
    ]
    columns = (
        Column("label"),
        Column("cases", number=True),
        Column("r", number=True, hint="correlation of predicted and measured Dice"),
        Column("mean absolute error", number=True),
        Column("learned of"),
    )
    return Table("What a predicted Dice is worth", columns, tuple(rows), "On the cross-validation.", filtered=False)


def _volumes(source: PredictionsSource, measured: Sequence[MeasuredCase]) -> list[Block]:
    if not measured:
        return []
    units = {each.unit for each in measured}
    unit = units.pop() if len(units) == 1 else "ml"
    size, labels, parts = f"{'area' if unit != 'ml' else 'volume'} ({unit})", [], []
    for each in measured:
        for label, found in each.labels.items():
            labels.append((each.case.key, label, number(found.volume), found.components))
            parts += [
                (each.case.key, label, place, number(part.volume), number(part.diameter_mm), number(part.mean))
                for place, part in enumerate(found.largest, 1)
            ]
    key = Column("case"), Column("label", chosen=True)
    channels = source.record.channels
    channel = f"mean of {channels[0]}" if len(channels) == 1 else "mean intensity"
    first = f" Intensities are those of {channels[0]}, or of the first channel that a case has." * (len(channels) > 1)
    note = (
        "Voxels belong together that share a face, an edge or a corner. The diameter runs between the centres of the "
        f"two voxels that lie farthest apart.{first}"
    )
    of_labels = (*key, Column(size, number=True), Column("components", number=True))
    of_parts = (
        *key,
        Column("rank", number=True),
        Column(size, number=True),
        Column(f"longest diameter ({PIXELS if unit == PIXELS else 'mm'})", number=True),
        Column(channel, number=True),
    )
    return [
        Table("All labels", of_labels, tuple(labels)),
        Table("The largest components of each label", of_parts, tuple(parts), note),
    ]


def _pictures(source: PredictionsSource, chosen: Sequence[MeasuredCase]) -> list[Block]:
    if not source.pictures:
        return []
    draw: Callable[[MeasuredCase], CasePicture | str] = partial(_draw, source=source)
    results = progress(ordered_map(draw, chosen, 1, 0), len(chosen), "drawing cases")
    drawn, notices = fitting(results, source)
    if not drawn:
        return notices
    marked = UNSURE if any(view.errors for each in drawn for view in each.views) else ()
    note = "Slices with the most labelled voxels, or the most uncertain ones where uncertainty was written."
    note += how_seen(source.record.labels)
    title = f"The {counted(len(drawn), 'case')} with the lowest predicted quality"
    colours = legend(source.record.labels)
    return [Pictures(title, tuple(drawn), colours, marked, note, "prediction", "uncertainty"), *notices]


def _draw(measured: MeasuredCase, source: PredictionsSource) -> CasePicture | str:
    case, record = measured.case, source.record
    uncertainty = source.folder / "uncertainty" / f"{case.key}.nii.gz"
    try:
        image = read_case(case, record.alignment)
        found, _ = read_label_map(files_in(source.folder, case.key, record.file_ending, record.labels), record.labels)
        marks = unsure(np.asarray(read_file(uncertainty)[0][0])) if uncertainty.is_file() else None
        told = "; ".join(_reasons(measured, source)) or "nothing about it is doubtful"
        drawing = drawing_of(image, found, None, record.labels, marks, colours=colours_of(record.channels))
        drawn = picture(case.key, told, drawing, record.labels, at_errors=True)
        most = min(MOST_VOLUMES // DRAWN, source.room_of_volumes)
        layers = {"first": "prediction", "last": "uncertainty", "nothing": "little"}
        return replace(
            drawn, volume=pack(case.key, image, drawing, record.channels, most=most, at_errors=True, **layers)
        )
    except (AutosegError, OSError) as error:
        return f"case {case.key}: {source.told(error)}"


def _reasons(measured: MeasuredCase, source: PredictionsSource) -> list[str]:
    """Its least sure label first, then what is unlike the training data."""
    rows, found = source.quality.get(measured.case.key, {}), []
    sure = {label: quality.predicted_dice for label, quality in rows.items() if quality.predicted_dice is not None}
    word = "predicted Dice"
    if not sure:
        sure, word = {label: each.agreement for label, each in rows.items() if each.agreement is not None}, "agreement"
    if sure:
        label = min(sure, key=lambda name: sure[name])
        found.append(f"{word} of {label} {sure[label]:.3f}")
    return found + [f"{each.what} {each.found}" for each in measured.unlike[:TOLD]]
