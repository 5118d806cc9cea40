"""What a user's ``dataset.json`` says, in nnU-Net's words or the Medical Segmentation Decathlon's, with clear refusals.

Documented in nnU-Net's dataset_format.md: ``channel_names`` (formerly ``modality``), ``labels`` as name to value or,
formerly, value to name, a list of values for a region, ``regions_class_order``, the label ``ignore``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .core.labels import ExclusiveLabels, Labels, RegionLabels
from .errors import DatasetError


def read(path: Path) -> dict[str, Any]:
    """The object in the file. Raises DatasetError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: expected an object with channel_names and labels, found a {type(value).__name__}")
    return value


def channels_of(description: dict[str, Any], where: Path) -> tuple[str, ...]:
    """Channel names in the order of their numbers. Raises DatasetError."""
    named = description.get("channel_names", description.get("modality"))
    if isinstance(named, list):
        named = {str(number): name for number, name in enumerate(named)}
    if not isinstance(named, dict) or not named:
        raise DatasetError(f'{where}: give channel_names, for example {{"0": "T1", "1": "T2"}}')
    try:
        numbers = {int(number): str(name) for number, name in named.items()}
    except ValueError:
        raise DatasetError(f"{where}: channel_names are keyed by number, found {list(named)}") from None
    if sorted(numbers) != list(range(len(numbers))):
        raise DatasetError(f"{where}: channel_names must be numbered 0 to {len(numbers) - 1}, found {sorted(numbers)}")
    return tuple(numbers[number] for number in sorted(numbers))


def labels_of(description: dict[str, Any], where: Path) -> Labels:
    """Exclusive labels, or regions when a label is a list of values. Raises DatasetError."""
    named = _values_by_name(description.get("labels"), where)
    ignored = named.pop("ignore", None)
    ignore = None if ignored is None else _one(ignored, "ignore", where)
    background = _background(named, where)
    if ignore is not None and ignore in {value for values in named.values() for value in values} | {background}:
        raise DatasetError(f"{where}: the value {ignore} of `ignore` also belongs to another label")
    if all(len(values) == 1 for values in named.values()):  # whatever regions_class_order says, as in nnU-Net
        return _exclusive({"background": (background,)} | named, ignore, where)
    return RegionLabels(named, _class_order(description, named, where), background, ignore)


def text_of(description: dict[str, Any], *names: str) -> str:
    """What is written under the first of these names that has a text; else nothing."""
    found = (description.get(name) for name in names)
    return next((text.strip() for text in found if isinstance(text, str) and text.strip()), "")


def _values_by_name(labels: Any, where: Path) -> dict[str, tuple[int, ...]]:
    """Name to values; ``background`` and ``ignore`` in lower case, whatever the user's."""
    if not isinstance(labels, dict) or not labels:
        raise DatasetError(f'{where}: give labels, for example {{"background": 0, "liver": 1}}')
    if all(name.lstrip("-").isdigit() and isinstance(value, str) for name, value in labels.items()):
        labels = _names_by_value(labels, where)
    named: dict[str, tuple[int, ...]] = {}
    for name, value in labels.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(item, int) and not isinstance(item, bool) for item in values):
            raise DatasetError(f"{where}: label {name!r} must be a whole number or a list of them, found {value!r}")
        named[name.lower() if name.lower() in ("background", "ignore") else name] = tuple(values)
    return named


def _names_by_value(labels: dict[str, str], where: Path) -> dict[str, int]:
    """The Decathlon's way round, value to name, turned."""
    turned = {name: int(value) for value, name in labels.items()}
    if len(turned) < len(labels):
        raise DatasetError(f"{where}: two labels have the same name: {sorted(labels.values())}")
    if "0" in labels:  # there, 0 is the background whatever it is called
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
    names = {name: values[0] for name, values in named.items()}
    if len(set(names.values())) < len(names):
        raise DatasetError(f"{where}: two labels share one value: {names}")
    if len(names) < 2:
        raise DatasetError(f"{where}: there is no label besides the background")
    return ExclusiveLabels(names, ignore)


def _class_order(description: dict[str, Any], named: dict[str, tuple[int, ...]], where: Path) -> tuple[int, ...]:
    order = description.get("regions_class_order")
    if not isinstance(order, list) or not all(isinstance(value, int) for value in order) or len(order) != len(named):
        raise DatasetError(
            f"{where}: regions need regions_class_order, one value per region in the order in which they are painted; "
            f"found {order!r} for the {len(named)} regions {list(named)}"
        )
    return tuple(order)


def _one(values: tuple[int, ...], name: str, where: Path) -> int:
    if len(values) != 1:
        raise DatasetError(f"{where}: {name!r} must be one value, found {list(values)}")
    return values[0]
