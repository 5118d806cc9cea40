"""`autoseg parts`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..errors import UsageError
from . import _flags, _options

HELP = "list every part: networks, losses, baselines, metrics, ...; of networks also what they cost"
EXAMPLES = (
    "autoseg parts",
    "autoseg parts losses",
    "autoseg parts networks -d Hippocampus",
)
NETWORKS = "networks"


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("family", nargs="?", type=_flags.word, metavar="FAMILY", help="only this one (default: all)")
    command.add_argument(
        "-d",
        "--dataset",
        type=_flags.word,
        metavar="DATASET",
        help="with networks: parameters, memory and seconds per step with the patch and batch of its plan",
    )
    _flags.add_configuration(command, "of the plan (default: the plan's default)")
    _flags.add_machine(command)


def run(options: Namespace) -> None:
    from ..core.names import short
    from ..core.part_list import families, parts_of
    from ..pipeline.part_table import part_table

    known = families()
    if options.family is not None and options.family not in known:
        raise UsageError(f"there is no family {short(options.family)!r}; choose one of {', '.join(known)}")
    if options.dataset is None and options.configuration is not None:
        raise UsageError("-c names a configuration of a plan: give -d DATASET, too")
    if options.dataset is not None:
        return _costs(options)
    chosen = [options.family] if options.family else list(known)
    found = [part for family in chosen for part in parts_of(family)]
    options.console.result(part_table(found), parts=found)


def _costs(options: Namespace) -> None:
    from ..core.part_list import parts_of
    from ..pipeline.network_costs import network_costs
    from ..pipeline.part_table import cost_table

    if options.family != NETWORKS:
        raise UsageError("-d DATASET says what networks cost: write `autoseg parts networks -d DATASET`")
    names = [part.name for part in parts_of(NETWORKS)]
    files = _options.dataset_folder(options, writing=True)
    configuration, costs = network_costs(files, names, options.configuration, _options.settings(options))
    title = f"{files.root.name}, {configuration}, on this machine"
    options.console.result(f"{title}\n{cost_table(costs)}", configuration=configuration, networks=costs)
