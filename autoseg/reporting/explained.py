"""What explains a model's decisions, as people look at it: a page of all cases and labels, and a picture of each."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..core.labels import Labels
from ..data.dataset import Case
from ..errors import AutosegError
from ..inference.model import Model
from ..inference.predictor import Predictor
from ..pipeline import explain as story
from ..pipeline.explain import ExplainedMap, Seen
from ..workspace import Workspace
from .blocks import Block, CasePicture, Column, Pictures, Section, Table, number
from .explained_figure import Row, draw_rows
from .page import Page, refuse_foreign, write
from .pictures import Drawing, how_seen, legend, picture, shown_channel
from .planes import planes, turned, turned_spacing
from .room import MOST_PICTURES, fitting

LOG = logging.getLogger("autoseg")
NAME = "report.html"
EVIDENCE = (
    ("a quarter of the largest absolute value and more", "#F0E442"),
    ("half", "#FF8C1A"),
    ("three quarters", "#FF1F6B"),
    ("against the label, a quarter and more", "#4D7CFF"),
)
SHARES = (0.25, 0.5, 0.75)  # of the first three


def explain_all(
    found: Predictor[Any],
    cases: Sequence[str],
    folder: Path,
    workspace: Workspace,
    *,
    methods: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> tuple[list[ExplainedMap], dict[str, str]]:
    """Maps of every case in ``folder``, a picture for each case and label, a page, and ``explained.json`` about them;
    and why cases could not be explained, by their names. Where none could, the first reason is raised.

    ``cases`` are names of cases of the dataset that the model was trained on, or image files; ``labels`` none takes all
    that are found. Raises UsageError, UnknownPartError, ModelError, DatasetError or OSError.
    """
    model, parts = story.only_model(found), story.methods(methods, workspace.trusted)
    heads, wanted = story.heads_of(model, labels), story.cases_of(model, cases, workspace)
    story.prepare_folder(folder)
    refuse_foreign(folder / NAME)
    story.write_record(folder, [])  # whose folder this is, should it be killed
    made = _Made(model, folder)
    drawn, notices = fitting(made.pictures(wanted, parts, heads), made)
    if made.failed and not made.maps:
        raise next(iter(made.failed.values()))
    write(folder / NAME, _page(model, made.maps, drawn, notices))
    return made.maps, {key: str(error) for key, error in made.failed.items()}


@dataclass
class _Made:
    """Mutable: what has been made, and the room that the page has left. One map is in memory at a time."""

    model: Model
    folder: Path
    maps: list[ExplainedMap] = field(default_factory=list)
    failed: dict[str, AutosegError] = field(default_factory=dict)
    """Case to why it could not be explained."""
    room: int = MOST_PICTURES
    room_of_volumes: int = 0

    def pictures(
        self, cases: Sequence[Case], parts: dict[str, Any], heads: dict[str, int]
    ) -> Iterator[CasePicture | str]:
        """Of the page, one for each map; of a case that cannot be explained, why."""
        names = story.file_names([case.key for case in cases], [*heads], parts)
        for case in cases:
            try:
                yield from self._of_case(case, parts, heads, names)
            except AutosegError as error:
                LOG.warning("%s", error)
                self.failed[case.key] = error
                yield str(error)
            story.write_record(self.folder, self.maps)

    def _of_case(
        self, case: Case, parts: dict[str, Any], heads: dict[str, int], names: story.FileNames
    ) -> Iterator[CasePicture]:
        rows: list[Row] = []
        for seen in story.explain(self.model, case, self.folder, parts, heads, names):
            self.maps.append(seen.told)
            rows.append(Row.of(seen))
            yield _picture(seen, self.model.task.labels)
            if len(rows) == len(parts):
                draw_rows(self.folder / f"{names[case.key, seen.told.label]}.png", rows)
                rows = []


def _picture(seen: Seen, labels: Labels) -> CasePicture:
    told, image = seen.told, seen.image
    geometry, place = image.geometry, 1 + list(labels.foreground).index(told.label)
    drawing = Drawing(
        turned(image.array[shown_channel(image)], geometry),
        turned(seen.inside * np.uint16(place), geometry),
        None,
        turned(_marks(seen.array), geometry),
        turned_spacing(geometry),
        planes(geometry),
        EVIDENCE,
    )
    where = f"{told.inside:.0%} of what is positive lies within the explained part"
    how = f"{told.unit}; the largest is {told.largest:.3g}, {where}"
    return picture(f"{told.case}, {told.label}: {told.method}", how, drawing, labels, at_errors=True)


def _marks(array: np.ndarray) -> np.ndarray:
    """Numbers of ``EVIDENCE`` from 1; 0 where nothing speaks for or against the label."""
    most = float(np.abs(array).max())
    if most == 0:
        return np.zeros(array.shape, np.uint8)
    marks = np.digitize(array, [share * most for share in SHARES]).astype(np.uint8)
    marks[array <= -SHARES[0] * most] = len(EVIDENCE)
    return marks


def _page(model: Model, maps: Sequence[ExplainedMap], drawn: Sequence[CasePicture], notices: Sequence[Block]) -> Page:
    labels = model.task.labels
    columns = (
        *(Column(name, chosen=True) for name in ("case", "label", "method")),
        Column("largest value", number=True),
        Column("within the part (%)", number=True, hint="share of positive values that lies in the explained part"),
        Column("largest at (z, y, x)", hint="voxel of the file, counted from 0"),
        Column("file"),
    )
    rows = tuple(
        (one.case, one.label, one.method, number(one.largest), number(100 * one.inside), str(one.at), one.file)
        for one in maps
    )
    note = (
        "Slices with most evidence. A map shows what the network used, not whether that is right; trust what several "
        f"methods show.{how_seen(labels)}"
    )
    blocks: list[Block] = [*notices, Table("All maps", columns, rows)]
    if drawn:
        title = "Where the evidence lies"
        blocks.insert(0, Pictures(title, tuple(drawn), legend(labels), EVIDENCE, note, "explained part", "evidence"))
    name = model.trained.manifest.name if model.trained and model.trained.manifest else model.task.name
    return Page(
        "Explanations",
        f"{len(maps)} maps of {name}",
        __version__,
        (Section("explained", "Explanations", tuple(blocks)),),
    )
