"""What modality each channel is, by its name or its values, and channels of CT that are not declared as such."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from ..core.modality_guess import AIR, CT, named_modality
from ..core.names import short
from ..data.fingerprint import CaseFingerprint, ChannelFingerprint, is_colour, is_quantitative
from .outliers import ALL
from .problem import Problem


def modality_told(name: str, channels: Iterable[ChannelFingerprint]) -> str:
    """Of the channel called ``name``, and how that is known; the guess is that of the most cases."""
    if is_colour(name):
        return "colour"
    named, guess = named_modality(name), _guess(channels)
    if named is not None:
        return named if guess in (None, named) else f"{named}, like {guess}"
    return "not known" if guess is None else f"{guess} (guess)"


def _guess(channels: Iterable[ChannelFingerprint]) -> str | None:
    counts = Counter(each.modality for each in channels)
    return max(counts, key=lambda each: (counts[each], str(each)), default=None)


def undeclared_ct(cases: Mapping[str, CaseFingerprint], channels: Sequence[str]) -> list[Problem]:
    """Channels that look like CT, or are called so, and are not normalised as CT since they are not named ``CT``.

    Those whose names ask for another normalisation are left alone.
    """
    problems = []
    for number, name in enumerate(channels):
        there = [case.channels[number] for case in cases.values() if number < len(case.channels)]
        found = [each for each in there if each is not None]
        named = named_modality(name)
        alike = [each for each in found if each.minimum <= AIR and CT in (named, each.modality)]
        if is_quantitative(name) or 2 * len(alike) <= len(found):
            continue
        what = (
            f"channel {number} ({short(name, 40)}) looks like CT: values begin at about "
            f"{median(each.minimum for each in alike):.0f} in {len(alike)} of {len(found)} cases, and air has -1000 "
            "Hounsfield units; as it is not named CT, each image is normalised by itself"
        )
        cure = (
            f'If it is CT, name it so in dataset.json ("channel_names": {{"{number}": "CT"}}; where there is '
            "none, by `--channels CT`), or say "
            f"`autoseg plan_and_preprocess DATASET --normalizer {shlex.quote(short(name, 40))}=ct`: then Hounsfield "
            "units mean the same in all images."
        )
        problems.append(Problem(ALL, "", what, cure, "note"))
    return problems
