"""Weights of another model that a training begins with (fine-tuning): fitted by name, never by chance.

What a network sees and what it predicts are matched by the names of channels and labels. Everything else is taken where
name and shape are the same, and begins at random where they are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

import torch
from torch import Tensor, nn, optim

from ..core.inputs import InputSpec
from ..errors import UsageError
from ..task import Task

Entry = tuple[str, Union[str, int], int]
"""What a network's input channel shows: group, channel by its name or number, slice."""
IMAGE = "image"
PREFIX = "network."  # of the weights of a network with further inputs
ENCODERS = ("encoder", "encoders")
LEAST_SHARE = 0.25  # of the network's numbers that must come from the other model: else it is another network


@dataclass(frozen=True)
class Donor:
    """A trained network."""

    source: str
    """Its name, for people."""
    digest: str
    """SHA-256 of the file that holds the weights."""
    weights: Mapping[str, Tensor]
    """Under the names that a network of ours has, without ``PREFIX``; on the CPU."""
    entries: tuple[Entry, ...] | None = None
    """What its input channels show; None: not known."""
    heads: tuple[str, ...] = ()
    """Labels by name; empty: not known."""


@dataclass(frozen=True)
class Fitted:
    """The weights of a donor, as a network takes them."""

    weights: dict[str, Tensor]
    """All of the network that come from the donor, whole or in part."""
    fresh: tuple[str, ...]
    """Weights of the network that begin at random, for want of a counterpart of their name and shape."""
    share: float
    """Of the network's numbers, those that come from the donor."""


def entries_of(task: Task) -> tuple[Entry, ...]:
    """What each input channel of the task's network shows, in their order."""
    image, *extras = task.inputs.groups
    names = [task.channels[channel] for channel in task.seen]
    seen: list[Entry] = [(IMAGE, name, number) for name in names for number in range(image.slices)]
    for group in extras:
        seen += [(group.name, channel, number) for channel in range(group.channels) for number in range(group.slices)]
    return tuple(seen)


def fitted(task: Task, network: nn.Module, donor: Donor) -> Fitted:
    """The donor's weights for ``network``, which the task built: its fresh ones stand where the donor has none.

    A channel that the donor does not know by name gets the mean of the kernels of its image's channels. Raises
    UsageError where the donor is another network.
    """
    axes, mine = _axes(task), network.state_dict()
    found, fresh, numbers = dict[str, Tensor](), list[str](), 0
    for name, begun in mine.items():
        bare = name.removeprefix(PREFIX)
        given = donor.weights.get(bare)
        carried = None if given is None else _carried(begun, given, axes.get(bare, ()), task, donor)
        if carried is None:
            fresh.append(name)
        else:
            found[name], taken = carried
            numbers += taken
    share = numbers / max(1, sum(weight.numel() for weight in mine.values()))
    if share < LEAST_SHARE:
        raise UsageError(
            f"only {100 * share:.0f} % of the weights of {task.name} can come from {donor.source}: "
            f"{_first_misfit(mine, donor)}. Plan the dataset with that model's network: "
            f"`autoseg plan_and_preprocess {task.dataset} --from MODEL`"
        )
    return Fitted(found, tuple(fresh), share)


def slow_encoder(network: nn.Module, optimizer: optim.Optimizer, fresh: Sequence[str], rate: float) -> None:
    """From now on the encoder's weights learn at ``rate`` of the learning rate, at 0 not at all; all but the ``fresh``.
    At 1 nothing changes.

    An update is in proportion to the learning rate with every optimizer, so that part of it is the update of a smaller
    rate. Raises UsageError for a network in which no part is called encoder.
    """
    if rate == 1:
        return
    parts = {name: weight for name, weight in network.named_parameters() if {*name.split(".")} & {*ENCODERS}}
    if not parts:
        raise UsageError(f"an encoder cannot be slowed down: {type(network).__name__} has no part of that name")
    slowed = [weight for name, weight in parts.items() if name not in fresh]
    if rate == 0:
        for weight in slowed:
            weight.requires_grad_(False)
    else:
        step = optimizer.step

        def slower(*given: Any) -> Any:  # its own hooks would do, but those of a step within a step run twice
            before = [weight.detach().clone() for weight in slowed]
            result = step(*given)
            torch._foreach_lerp_([weight.detach() for weight in slowed], before, 1.0 - rate)
            return result

        optimizer.step = slower  # type: ignore[assignment]


def _axes(task: Task) -> dict[str, tuple[tuple[int, bool], ...]]:
    """Of each weight the axes that grow with the channels (True) or with the labels (False) of the task."""
    spec, inputs, heads = task.configuration.network, task.inputs, task.labels.heads
    usual, found = _shapes(spec, inputs, heads), dict[str, tuple[tuple[int, bool], ...]]()
    image = inputs.image
    wider = InputSpec.of_image(image.channels + 1, image.slices, inputs.extras)
    for of_channels, grown in ((True, _shapes(spec, wider, heads)), (False, _shapes(spec, inputs, heads + 1))):
        for name, shape in usual.items():
            other = grown.get(name, ())
            changed = [axis for axis, (one, two) in enumerate(zip(shape, other)) if one != two]
            if len(shape) == len(other) and changed:
                found[name] = (*found.get(name, ()), *((axis, of_channels) for axis in changed))
    return found


def _shapes(spec: Any, inputs: InputSpec, heads: int) -> dict[str, tuple[int, ...]]:
    """Of the network's weights, without building them; nothing where there is no such network."""
    try:
        with torch.device("meta"):
            return {name: tuple(weight.shape) for name, weight in spec.build(inputs, heads).state_dict().items()}
    except (ValueError, IndexError):  # it is for a certain number of channels
        return {}


def _carried(
    begun: Tensor, given: Tensor, axes: Sequence[tuple[int, bool]], task: Task, donor: Donor
) -> tuple[Tensor, int] | None:
    """``given`` in the shape of ``begun``, and how many of its numbers count; None where it does not fit."""
    if given.dim() != begun.dim():
        return None
    matched = {axis: _rows(axis, of_channels, begun, given, task, donor) for axis, of_channels in axes}
    if any(rows is None for rows in matched.values()):
        return None
    if any(given.shape[axis] != size for axis, size in enumerate(begun.shape) if axis not in matched):
        return None
    result, known = given.to(begun.dtype), torch.ones(begun.shape, dtype=torch.bool)
    for axis, rows in matched.items():
        assert rows is not None
        result = torch.cat([_mean(result, axis, row) for row in rows], axis)
        along = [len(rows) if other == axis else 1 for other in range(begun.dim())]
        known &= torch.tensor([bool(row) for row in rows]).view(along)
    return (torch.where(known, result, begun), int(known.sum())) if known.any() else None


def _mean(given: Tensor, axis: int, places: Sequence[int]) -> Tensor:
    """Of these places along ``axis``, which is kept; of none 0."""
    if not places:
        return torch.zeros_like(given.narrow(axis, 0, 1))
    return given.index_select(axis, torch.tensor(places)).mean(axis, keepdim=True)


def _rows(
    axis: int, of_channels: bool, begun: Tensor, given: Tensor, task: Task, donor: Donor
) -> list[list[int]] | None:
    """For each place along ``axis`` the places of the donor whose mean it is; empty: it stays fresh. None: no fit."""
    there = list(range(given.shape[axis]))
    wanted: Sequence[Any] = entries_of(task) if of_channels else task.labels.head_names
    known: Sequence[Any] | None = donor.entries if of_channels else donor.heads or None
    if begun.shape[axis] != len(wanted) or (known is not None and len(known) != len(there)):
        return [[place] for place in there] if tuple(wanted) == tuple(known or ()) else None
    if known is None:  # neither names nor their order are known
        image = there if of_channels else []
        return [image if not of_channels or entry[0] == IMAGE else [] for entry in wanted]
    image = [place for place in there if of_channels and known[place][0] == IMAGE]
    rows = []
    for entry in wanted:
        same = [place for place in there if known[place] == entry]
        rows.append(same[:1] or (image if of_channels and entry[0] == IMAGE else []))
    return rows


def _first_misfit(mine: Mapping[str, Tensor], donor: Donor) -> str:
    for name, weight in mine.items():
        given = donor.weights.get(name.removeprefix(PREFIX))
        if given is None:
            return f"it has no {name}"
        if given.shape != weight.shape:
            return f"{name} has the shape {tuple(given.shape)} there and {tuple(weight.shape)} here"
    return "no shapes fit"
