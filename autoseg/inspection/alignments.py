"""Whether the files of a case lie on one grid, and what brings its channels onto one where they do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ..alignment.grids import covered, reference_channel
from ..alignment.record import Alignment, AlignmentRequest
from ..alignment.reference import CURE, NO_OVERLAP
from ..core.channels import channel_number
from ..core.geometry import Geometry
from ..core.names import short
from ..data.dataset import Case, Dataset, ImageSource
from ..errors import UsageError
from ..parts.readers import Header, differences, resampling, unlike
from .outliers import ALL, unusual_grids
from .problem import Problem

RESAMPLE = (
    f"Resample the file to the grid of the case's first image ({resampling(nearest=False)}; of a label map "
    f"{resampling(nearest=True)}), or remove the case."
)
LABEL_ELSEWHERE = (
    "A label map has to lie on the grid of the reference channel, as label maps are not resampled: choose the channel "
    "that it was drawn on (`autoseg plan_and_preprocess DATASET --reference NAME`), or remove the case."
)
LABEL_WITHOUT_REFERENCE = (
    "This case lacks the reference channel, so that its first channel decides the grid: resample the label map to that "
    f"({resampling(nearest=True)}), or remove the case."
)
RESAMPLED = (
    "Fine: headers decide where channels lie. Where these may not know how the patient lay, as between two visits, "
    "`autoseg plan_and_preprocess DATASET --align rigid` registers channels besides."
)
Headers = Mapping[str, tuple[dict[Path, Header], list[Problem]]]
"""By case: those of its files, and what is wrong with files that cannot be read."""


def with_alignment(dataset: Dataset, headers: Headers, request: AlignmentRequest) -> Dataset:
    """``dataset`` with what was asked for; without a wish, None where the channels of all cases share a grid.

    2-D images are not aligned: their headers seldom say where they lie. Raises UsageError for a channel that there is
    not, and where there is nothing that could be registered.
    """
    grids = dict(_grids(dataset, headers))
    flat = any(grid.dimensions == 2 for channels, _ in grids.values() for grid in channels.values())
    asked = None if request.reference is None else channel_number(request.reference, dataset.channels, "--reference")
    if request.registers and (flat or len(dataset.channels) == 1):
        why = "its images are 2-D, and only volumes are registered" if flat else "it has one channel"
        raise UsageError(f"{dataset.name} cannot be registered: {why}; leave --align out")
    wanted = asked is not None or request.registers
    if not wanted and (flat or not any(_apart(channels) for channels, _ in grids.values())):
        return replace(dataset, alignment=None)
    chosen = reference_channel(list(grids.values()), len(dataset.channels)) if asked is None else asked
    return replace(dataset, alignment=Alignment(chosen, request.method))


def _grids(dataset: Dataset, headers: Headers) -> Iterator[tuple[str, tuple[dict[int, Geometry], Geometry | None]]]:
    """Of every case whose files can be read: grids by number of channel, and that of the label map."""
    for case in dataset.cases:
        found, unread = headers[case.key]
        if unread:
            continue
        channels = {n: found[Path(source.file)].geometry for n, source in enumerate(case.images) if source}
        labelled = next(filter(None, case.label_files), None)
        yield case.key, (channels, None if labelled is None else found[labelled].geometry)


def _apart(channels: Mapping[int, Geometry]) -> bool:
    first, *others = channels.values()
    return any(other is not first and unlike(first, other) for other in others)


def grid_problems(case: Case, path: Path, first: Header, other: Header, alignment: Alignment | None) -> list[Problem]:
    """How ``path`` departs from the image on whose grid the case is seen; without ``alignment`` all must share it."""
    wrong = differences(first.geometry, other.geometry)
    if not wrong:
        return []
    what = "; ".join(difference.what for difference in wrong)
    if all(difference.rounding for difference in wrong):
        cure = "Rounding in the header; harmless here. `autoseg check DATASET --fix` copies the first image's header."
        return [Problem(case.key, path.name, what, cure, severity="note", fixable=True)]
    if alignment is None:
        return [Problem(case.key, path.name, what, RESAMPLE)]
    if path in case.label_files:
        cure = LABEL_WITHOUT_REFERENCE if alignment.reference in case.absent else LABEL_ELSEWHERE
        return [Problem(case.key, path.name, what, cure)]
    if {first.geometry.dimensions, other.geometry.dimensions} != {3}:
        return [Problem(case.key, path.name, what, RESAMPLE)]
    if not covered(first.geometry, other.geometry):
        return [Problem(case.key, path.name, f"{NO_OVERLAP}: {what}", f"{CURE}.")]
    return []


def unusual_channels(dataset: Dataset, headers: Headers) -> list[Problem]:
    """Where channels are brought onto another grid: those whose own is of another order of magnitude than elsewhere."""
    if dataset.alignment is None:
        return []
    problems = []
    for number in sorted({*range(len(dataset.channels))} - {dataset.alignment.reference}):
        sources = {case.key: _source(case, number) for case in dataset.cases if not headers[case.key][1]}
        files = {key: Path(source.file) for key, source in sources.items() if source}
        found = unusual_grids({key: headers[key][0][file].geometry for key, file in files.items()})
        problems += [replace(problem, file=files[problem.case].name) for problem in found]
    return problems


def _source(case: Case, number: int) -> ImageSource | None:
    """Of a channel; None also where the case has too few files, which is told elsewhere."""
    return case.images[number] if number < len(case.images) else None


def resampled_channels(dataset: Dataset, headers: Headers) -> list[Problem]:
    """For each channel that lies on another grid than the reference: in how many cases, and how much of it is there."""
    if dataset.alignment is None:
        return []
    problems = []
    for number, name in enumerate(dataset.channels):
        shares = {}
        for case in dataset.cases:
            found, unread = headers[case.key]
            source = None if unread else _source(case, number)
            first = None if source is None else found[case.grid_file(dataset.alignment)].geometry
            own = None if source is None else found[Path(source.file)].geometry
            if first and own and first.dimensions == own.dimensions == 3 and unlike(first, own):
                shares[case.key] = covered(first, own)
        if shares:
            least = min(shares, key=lambda key: shares[key])
            reference = short(dataset.channels[dataset.alignment.reference], 40)
            what = (
                f"channel {number} ({short(name, 40)}) lies on another grid than {reference} in {len(shares)} of "
                f"{len(dataset.cases)} cases and is resampled onto it by the headers; it covers at least "
                f"{100 * shares[least]:.0f} % of that field of view ({short(least)}), the rest gets its smallest value"
            )
            problems.append(Problem(ALL, "", what, RESAMPLED, severity="note"))
    return problems
