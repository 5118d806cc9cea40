"""Functions about classical methods and parts: segment without a network, refine a label map, list parts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import _arguments as given

if TYPE_CHECKING:
    from ..core.part_list import ListedPart
    from ..evaluation.scores import Summary
    from ..pipeline.network_costs import NetworkCost
    from ..settings import RunSettings


def baseline(
    name: str,
    dataset: str | Path,
    workspace: str | Path | None = None,
    *,
    folds: Sequence[int | str] | None = None,
    channels: Sequence[str] = (),
    changes: Sequence[str] = (),
    report: bool = True,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> Summary:
    """Segments validation cases by the classical method ``name`` and scores them as a training's are.

    Its settings are learned on the training cases of each fold alone, but for those of ``changes``
    (``["classes=3"]``). ``folds`` None takes all, which segments every case; ``channels`` are those to look at, none
    for all. Label maps and scores lie in ``baselines/NAME/fold_*/validation`` of the dataset's folder; ``report``
    writes the dataset's page at the end, and never fails. Raises UsageError, DatasetError, WorkspaceError or
    UnknownPartError.
    """
    from ..pipeline import baseline as story
    from ..reporting.story import report_after
    from ..settings import RunSettings

    files = given.dataset_in(dataset, given.workspace_in(workspace, trusted))
    found = story.baseline(
        files,
        str(given.optional_text(name, "name")),
        folds=given.fold_names(folds),
        channels=given.words(channels, "channels"),
        changes=given.words(changes, "changes", numbers=False),
        settings=settings,
    )
    if report:
        partial(report_after, files, (settings or RunSettings()).threads)()
    return found.summary


def refine(
    image: str | Path | Sequence[str | Path],
    label_map: str | Path,
    output: str | Path,
    *,
    method: str = "random_walker",
    background: int | None = None,
    reach: float = 3.0,
    changes: Sequence[str] = (),
    trusted: tuple[str, ...] = (),
) -> Path:
    """Writes ``output``: the label map after a classical method, on the grid of the image; returns it.

    ``image`` is a file, or one for each channel. How bright each label is says the label map itself. Borders move by up
    to about ``reach`` mm, and what lies deeper stays. With ``background``, a value, the label map holds seeds instead:
    voxels of that value are background, those of 0 are not decided. ``method`` is a baseline that starts from seeds or
    probabilities (``"random_walker"``, ``"graph_cut"``, ``"level_set"``, ...), ``changes`` are its settings. Raises
    UsageError, DatasetError, ImageFileError or UnknownPartError.
    """
    from ..pipeline.refine import refine as story

    listed = [image] if isinstance(image, str | os.PathLike) else image
    return story(
        [given.path(each, "the image") for each in listed],
        given.path(label_map, "the label map"),
        given.path(output, "output"),
        name=str(given.optional_text(method, "method")),
        background=given.count(background, "background"),
        reach=given.number(reach, "reach", "a number of millimetres up to 1000", lambda found: 0 < found <= 1000),
        changes=given.words(changes, "changes", numbers=False),
        trusted=trusted,
    )


def list_parts(
    family: str | None = None,
    workspace: str | Path | None = None,
    *,
    dataset: str | Path | None = None,
    configuration: str | None = None,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> list[ListedPart] | list[NetworkCost]:
    """Every part of a family, of all where None: name, what it is, papers, the extra that it needs.

    With ``dataset`` and ``family="networks"``: what each network costs with patch and batch of the dataset's plan.
    Raises UsageError or WorkspaceError.
    """
    from ..core.part_list import chosen_family, families, parts_of

    wanted = given.optional_text(family, "family")
    if dataset is None:
        return [part for name in ([chosen_family(wanted)] if wanted else families()) for part in parts_of(name)]
    from ..pipeline.network_costs import network_costs, refuse_other_family

    refuse_other_family(wanted)
    files = given.dataset_in(dataset, given.workspace_in(workspace, trusted))
    return network_costs(files, [part.name for part in parts_of(str(wanted))], configuration, settings)[1]
