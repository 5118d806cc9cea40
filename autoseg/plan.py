"""What was decided, as data: one JSON file with units, readable and editable by a person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .alignment.record import Alignment
from .configuration import Configuration
from .core.channels import MOST_CHANNELS, ChannelSource, refuse_contradictory
from .core.fusion import DECISION, MIDDLE, Fusion
from .core.geometry import is_orientation
from .core.labels import Labels
from .core.names import path_name, short, shown_name
from .core.records import read_json
from .errors import RecordError, UsageError
from .parts.readers import label_ending
from .task import Task


@dataclass(frozen=True)
class Plan:
    """Every decision for one dataset."""

    dataset: str
    planner: str
    axis_order: tuple[int, int, int]
    """Network axis i is file axis ``axis_order[i]``: the coarsest axis comes first."""
    channels: tuple[str, ...]
    labels: Labels
    file_ending: str
    """Ending of predicted label maps."""
    mirror_axes: tuple[int, ...]
    """Network axes (0 = z) along which images may be mirrored in training and prediction; 2-D networks use y and x."""
    configurations: dict[str, Configuration]
    default: str
    """The configuration taken when the user names none."""
    orientation: str | None = None
    """Where x, y and z of every image point to after it was turned, ``RAS`` for example; the axes of ``axis_order`` are
    then those of the turned image. None: images are taken as they lie in their files."""
    network: str | None = None
    """The part that the user asked for as every configuration's network, with the fields that were chosen, as
    ``--network`` takes them (``modular_unet:block=dense``); None: the planner chose."""
    fusion: Fusion | None = None
    """How the user asked to combine the channels; None: they enter the network side by side."""
    beside: tuple[Fusion, ...] = ()
    """Fusions in the middle, each with a configuration of its own beside the others: ``3d_fullres_middle``."""
    draft: bool = False
    """Whether only what preparing needs is decided; all else stands in until the machine that trains is measured."""
    channel_sources: tuple[ChannelSource, ...] = ()
    """Of which of a case's files each channel is which volume; empty: files hold all channels, in their order."""
    reasons: tuple[str, ...] = ()
    """Why this was decided for all configurations: ``subject: sentence with numbers``."""
    alignment: Alignment | None = None
    """How the channels of a case come onto one grid; None: they have to lie on one."""
    version: int = 1

    def __post_init__(self) -> None:
        path_name(self.dataset, "dataset")
        shown_name(self.planner, "planner")
        if self.network is not None:
            shown_name(self.network, "network")
        label_ending(self.file_ending)
        if not 1 <= len(self.channels) <= MOST_CHANNELS:
            raise ValueError(f"channels: there must be 1 to {MOST_CHANNELS}, found {len(self.channels)}")
        for channel in self.channels:
            shown_name(channel, "channel")
        if self.fusion is not None:
            self._refuse_unknown_groups(self.fusion)
        self._refuse_beside()
        refuse_contradictory(self.channel_sources, len(self.channels))
        if sorted(self.axis_order) != [0, 1, 2]:
            raise ValueError(f"axis_order must be a permutation of 0, 1, 2; found {self.axis_order}")
        if self.orientation is not None and not is_orientation(self.orientation):
            raise ValueError(
                f"orientation must name one end of each of the patient's axes: {short(self.orientation)!r}"
            )
        if not set(self.mirror_axes) <= {0, 1, 2} or len(set(self.mirror_axes)) != len(self.mirror_axes):
            raise ValueError(f"mirror_axes must be some of 0, 1, 2; found {short(self.mirror_axes)}")
        if self.alignment is not None and self.alignment.reference >= len(self.channels):
            raise ValueError(
                f"alignment.reference: {self.alignment.reference}; channels are counted from 0, "
                f"there are {len(self.channels)}"
            )
        for name, configuration in self.configurations.items():
            self._refuse_unfit(path_name(name, "configuration"), configuration)
        if self.default not in self.configurations:
            raise ValueError(f"default {short(self.default)!r} is not among {short(list(self.configurations), 500)}")

    def _refuse_beside(self) -> None:
        if any(fusion.level != MIDDLE for fusion in self.beside):
            raise ValueError(f"beside: a fusion that has a configuration of its own must be {MIDDLE}")
        if len({fusion.suffix for fusion in self.beside}) < len(self.beside):
            raise ValueError("beside: two fusions are joined by the same method")
        if self.beside and self.fusion is not None and self.fusion.level != DECISION:
            raise ValueError(f"beside: the other configurations fuse at the {self.fusion.level}, and not at the input")
        for fusion in self.beside:
            self._refuse_unknown_groups(fusion)

    def _refuse_unknown_groups(self, fusion: Fusion) -> None:
        try:
            fusion.numbered(self.channels)
        except UsageError as error:
            raise ValueError(f"fusion.groups: {error}") from None

    def _refuse_unfit(self, name: str, configuration: Configuration) -> None:
        """Raises ValueError for what does not fit the channels or the other configurations."""
        channels = len(self.channels)
        if len(configuration.normalizers) != channels:
            raise ValueError(
                f"configurations.{name}.normalizers: {len(configuration.normalizers)} entries for "
                f"{channels} channels; give one each for {short(', '.join(self.channels), 500)}"
            )
        if len(configuration.filters) not in (0, channels):
            raise ValueError(
                f"configurations.{name}.filters: {len(configuration.filters)} lists for {channels} channels; give one "
                f"each for {short(', '.join(self.channels), 500)}, or none at all"
            )
        if not set(configuration.channels or ()) <= set(range(channels)):
            raise ValueError(
                f"configurations.{name}.channels: {short(configuration.channels)}; channels are counted from 0, there "
                f"are {channels}"
            )
        masked, seen = configuration.augmentation.masked_channels, len(self.task(name).seen)
        if not set(masked) <= set(range(seen)):
            raise ValueError(
                f"configurations.{name}.augmentation.masked_channels: {short(masked)}; channels are counted from 0, "
                f"there are {seen}"
            )
        rates = {*(configuration.missing.rates if configuration.missing else ())}
        needed = [self.channels[number] for number in configuration.channels or () if self.channels[number] in rates]
        if needed:
            raise ValueError(
                f"configurations.{name}.missing.rates: {short(needed[0])!r} is one of the channels that this network "
                "sees, and a network of some channels needs these"
            )
        unknown = sorted(rates - {*self.channels})
        if unknown:
            raise ValueError(
                f"configurations.{name}.missing.rates: there is no channel {short(unknown[0])!r}; "
                f"there are {short(', '.join(self.channels), 500)}"
            )
        try:
            inputs = self.task(name).inputs
        except ValueError as error:
            raise ValueError(f"configurations.{name}.{error}") from None
        try:  # a network that was not loaded by its name has no defaults
            getattr(configuration.network, "check_inputs", lambda inputs: None)(inputs)
        except ValueError as error:
            raise ValueError(f"configurations.{name}.network: {error}") from None
        known = len(self.configurations) == 1 or configuration.previous in (None, *self.configurations)
        if not known or configuration.previous == name:  # a single configuration is that of one training
            raise ValueError(
                f"configurations.{name}.previous: there is no other configuration {configuration.previous!r}"
            )

    def configuration(self, name: str | None = None) -> tuple[str, Configuration]:
        """Name and configuration; the default one for None. Raises RecordError listing the choices."""
        name = name or self.default
        if name not in self.configurations:
            later = f"; `autoseg plan {self.dataset}` decides whether there are more" if self.draft else ""
            there = short(", ".join(self.configurations), 500)
            raise RecordError(f"the plan has no configuration {short(name)!r}; choose one of {there}{later}")
        return name, self.configurations[name]

    def task(self, name: str | None = None) -> Task:
        """What the engines need to know of a configuration; of the default one for None.

        Raises RecordError listing the choices.
        """
        name, configuration = self.configuration(name)
        return Task(
            self.dataset,
            name,
            configuration,
            self.channels,
            self.labels,
            self.axis_order,
            self.orientation,
            self.mirror_axes,
            self.file_ending,
            channel_sources=self.channel_sources,
            alignment=self.alignment,
        )

    def stages(self, name: str) -> tuple[str, ...]:
        """``name`` and before it the configurations whose predictions it needs.

        Raises RecordError where one of them is missing, or needs itself.
        """
        found: tuple[str, ...] = (name,)
        while (previous := self.configuration(found[0])[1].previous) is not None:
            if previous in found:
                raise RecordError(f"configurations.{previous}.previous: {' after '.join((*found, previous))}, a circle")
            found = (previous, *found)
        return found

    def differences(self, other: Plan) -> list[str]:
        """The fields in which ``other`` sees cases otherwise; where there are any, runs of both cannot be combined."""
        return [name for name in _OF_THE_CASES if getattr(self, name) != getattr(other, name)]


_OF_THE_CASES = ("axis_order", "orientation", "alignment", "channels", "channel_sources", "labels", "mirror_axes")


def read_plan(path: Path, trusted: tuple[str, ...] = ()) -> Plan:
    """Reads ``plan.json``. Raises RecordError naming the field that is wrong."""
    return read_json(path, Plan, trusted)
