"""What a user's ``dataset.json`` says, in nnU-Net's words or the Medical Segmentation Decathlon's, with clear refusals.

Documented in nnU-Net's dataset_format.md: ``channel_names`` (formerly ``modality``), ``labels`` as name to value or,
formerly, value to name, a list of values for a region, ``regions_class_order``, the label ``ignore``. What nnU-Net does
not have are ``masks``, a list of names, in place of ``labels``: of these, voxels may belong to several.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..core.channels import MOST_CHANNELS, ChannelSource, refuse_contradictory
from ..core.json_text import read_json_value
from ..core.labels import ExclusiveLabels, Labels, RegionLabels
from ..core.masks import MaskLabels
from ..core.names import short, shown_name
from ..errors import DatasetError, RecordError

Made = TypeVar("Made", ExclusiveLabels, RegionLabels, MaskLabels)
_NUMBER = re.compile("0{1,18}|-?0*[1-9][0-9]{0,17}")  # int also takes -0, spaces, _ and the digits of other scripts
IN_CHANNELS, ABSENT_ARE_EMPTY = "masks_in_channels", "absent_masks_are_empty"
MOST_VALUES = 200_000  # of all labels together: of 10 000 labels, each may belong to 20 regions


def read(path: Path) -> dict[str, Any]:
    """The object in the file. Raises DatasetError."""
    try:
        value = read_json_value(path)
    except RecordError as error:
        raise DatasetError(str(error)) from None
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: expected an object with channel_names and labels, found a {type(value).__name__}")
    return value


def channels_of(description: dict[str, Any], where: Path) -> tuple[str, ...]:
    """Channel names in the order of their numbers. Raises DatasetError."""
    numbered = _numbered_channels(description, where)
    return tuple(_channel(numbered[number], where) for number in sorted(numbered))


def channel_sources_of(description: dict[str, Any], where: Path) -> tuple[ChannelSource, ...]:
    """Of which file each channel is which volume, where channels say so; else nothing. Raises DatasetError."""
    numbered = _numbered_channels(description, where)
    said = [numbered[number] for number in sorted(numbered)]
    if not any(isinstance(each, dict) for each in said):
        return ()
    if not all(isinstance(each, dict) for each in said):
        raise DatasetError(f"{where}: channel_names must say of all channels, or of none, in which file they are")
    try:
        sources = tuple(ChannelSource(_whole(each, "file"), _whole(each, "volume")) for each in said)
        refuse_contradictory(sources, len(said))
    except ValueError as error:
        raise DatasetError(f"{where}: channel_names: {error}") from None
    return sources


def _whole(said: dict[str, Any], field: str) -> Any:
    """Raises ValueError where it is no whole number; only a volume may be left out."""
    value = said.get(field)
    if (value is None and field == "volume") or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError(f'a channel must be {{"name": "b0", "file": 0, "volume": 0}}, found {short(said)}')


def _numbered_channels(description: dict[str, Any], where: Path) -> dict[int, Any]:
    """What is said of each channel, by its number."""
    named = description.get("channel_names", description.get("modality"))
    if isinstance(named, list):
        named = {str(number): name for number, name in enumerate(named)}
    if not isinstance(named, dict) or not named:
        raise DatasetError(f'{where}: give channel_names, for example {{"0": "T1", "1": "T2"}}')
    if len(named) > MOST_CHANNELS:
        raise DatasetError(f"{where}: {len(named)} channel_names are more than the {MOST_CHANNELS} that can be used")
    if not all(_NUMBER.fullmatch(number) for number in named):
        raise DatasetError(f"{where}: channel_names are keyed by number, found {short(list(named), 300)}")
    if sorted(map(int, named)) != list(range(len(named))):
        found = short(sorted(named), 300)
        raise DatasetError(f"{where}: channel_names must be numbered 0 to {len(named) - 1}, found {found}")
    return {int(number): said for number, said in named.items()}


def _channel(name: Any, where: Path) -> str:
    """As text; people number their channels, too."""
    if isinstance(name, dict):
        if unknown := set(name) - {"name", "file", "volume"}:
            raise DatasetError(f"{where}: a channel has a name, file and volume, but no {short(min(unknown))!r}")
        name = name.get("name")
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise DatasetError(f"{where}: the name of a channel must be text, found {short(repr(name))}")
    try:
        return shown_name(str(name), "channel")
    except ValueError as error:
        raise DatasetError(f"{where}: {error}") from None


def labels_of(description: dict[str, Any], where: Path) -> Labels:
    """Exclusive labels, regions when a label is a list of values, or masks. Raises DatasetError."""
    if "masks" in description:
        return _masks(description, where)
    named = _values_by_name(description.get("labels"), where)
    ignored = named.pop("ignore", None)
    ignore = None if ignored is None else _one(ignored, "ignore", where)
    background = _background(named, where)
    if all(len(values) == 1 for values in named.values()):  # whatever regions_class_order says, as in nnU-Net
        return _exclusive({"background": (background,)} | named, ignore, where)
    return _made(RegionLabels, where, named, _class_order(description, named, where), background, ignore)


def _masks(description: dict[str, Any], where: Path) -> MaskLabels:
    named = description["masks"]
    if "labels" in description:
        raise DatasetError(
            f"{where}: has both `labels` and `masks`. `labels` are values of one map per case, `masks` a map for each "
            "name; remove one of them"
        )
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise DatasetError(f'{where}: masks must be a list of names such as ["liver", "tumour"], found {_shown(named)}')
    found = {name: description.get(name, False) for name in (IN_CHANNELS, ABSENT_ARE_EMPTY)}
    for name, value in found.items():
        if not isinstance(value, bool):
            raise DatasetError(f"{where}: {name} must be true or false, found {_shown(value)}")
    return _made(MaskLabels, where, tuple(named), *found.values())


def _shown(value: Any) -> str:
    """For messages: text with its quotes, and without what would move a terminal's cursor."""
    return short(repr(value)) if isinstance(value, str) else short(value)


def _made(kind: type[Made], where: Path, *fields: Any) -> Made:
    try:
        return kind(*fields)
    except ValueError as error:
        raise DatasetError(f"{where}: {error}") from None


def described(labels: Labels, channels: Sequence[str], file_ending: str) -> dict[str, Any]:
    """What a dataset.json says of these; ``labels_of`` reads the same labels of it, but for regions of one value each,
    which it takes for exclusive labels."""
    about = {"channel_names": {str(number): name for number, name in enumerate(channels)}, "file_ending": file_ending}
    if isinstance(labels, MaskLabels):
        switches = {IN_CHANNELS: labels.in_channels, ABSENT_ARE_EMPTY: labels.absent_are_empty}
        return about | {"masks": list(labels.masks)} | {name: True for name, on in switches.items() if on}
    ignore = {} if labels.ignore is None else {"ignore": labels.ignore}
    if isinstance(labels, ExclusiveLabels):
        return about | {"labels": labels.names | ignore}
    regions = {name: values[0] if len(values) == 1 else list(values) for name, values in labels.regions.items()}
    order = list(labels.class_order)
    return about | {"labels": {"background": labels.background} | regions | ignore, "regions_class_order": order}


def text_of(description: dict[str, Any], *names: str) -> str:
    """What is written under the first of these names that has a text; else nothing."""
    found = (description.get(name) for name in names)
    return next((text.strip() for text in found if isinstance(text, str) and text.strip()), "")


def _values_by_name(labels: Any, where: Path) -> dict[str, tuple[int, ...]]:
    """Name to values; ``background`` and ``ignore`` in lower case, whatever the user's."""
    if not isinstance(labels, dict) or not labels:
        raise DatasetError(f'{where}: give labels, for example {{"background": 0, "liver": 1}}')
    if all(_NUMBER.fullmatch(name) and isinstance(value, str) for name, value in labels.items()):
        labels = _names_by_value(labels, where)
    count = sum(len(value) for value in labels.values() if isinstance(value, list))
    if count > MOST_VALUES:
        raise DatasetError(f"{where}: its labels list {count} values in all, more than {MOST_VALUES} cannot be used")
    named: dict[str, tuple[int, ...]] = {}
    for name, value in labels.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(item, int) and not isinstance(item, bool) for item in values):
            raise DatasetError(
                f"{where}: label {short(name)!r} must be a whole number or a list of them, found {short(repr(value))}"
            )
        name = name.lower() if name.lower() in ("background", "ignore") else name
        if name in named:
            raise DatasetError(f"{where}: two labels are called {name!r}")
        named[name] = tuple(values)
    return named


def _names_by_value(labels: dict[str, str], where: Path) -> dict[str, int]:
    """The Decathlon's way round, value to name, turned."""
    turned = {name: int(value) for value, name in labels.items()}
    if len(turned) < len(labels):
        raise DatasetError(f"{where}: two labels have the same name: {short(sorted(labels.values()), 300)}")
    if len(set(turned.values())) < len(labels):
        raise DatasetError(f"{where}: two labels share one value: {short(sorted(labels), 300)}")
    if 0 in turned.values():  # there, 0 is the background whatever it is called
        turned = {"background": 0} | {name: value for name, value in turned.items() if value != 0}
    return turned


def _background(named: dict[str, tuple[int, ...]], where: Path) -> int:
    """Takes the background out of ``named``; where it is not named, it is 0 if no label has that value."""
    if "background" in named:
        return _one(named.pop("background"), "background", where)
    if any(0 in values for values in named.values()):
        raise DatasetError(f'{where}: name the background among the labels, for example "background": 0')
    return 0


def _exclusive(named: dict[str, tuple[int, ...]], ignore: int | None, where: Path) -> ExclusiveLabels:
    return _made(ExclusiveLabels, where, {name: values[0] for name, values in named.items()}, ignore)


def _class_order(description: dict[str, Any], named: dict[str, tuple[int, ...]], where: Path) -> tuple[int, ...]:
    order = description.get("regions_class_order")
    listed = order if isinstance(order, list) else []
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in listed)
    if not whole or len(listed) != len(named):
        raise DatasetError(
            f"{where}: regions need regions_class_order, one value per region in the order in which they are painted; "
            f"found {short(repr(order), 300)} for the {len(named)} regions {short(list(named), 500)}"
        )
    return tuple(listed)


def _one(values: tuple[int, ...], name: str, where: Path) -> int:
    if len(values) != 1:
        raise DatasetError(f"{where}: {name!r} must be one value, found {short(list(values))}")
    return values[0]
