"""`autoseg doctor`."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace

from . import _flags, _options

HELP = "look at this machine: devices, precision, threads, memory, disk, packages; and say what to change"
EXAMPLES = ("autoseg doctor", "autoseg doctor --workspace /data/autoseg --json")
LOG = logging.getLogger("autoseg")


def add_flags(command: ArgumentParser) -> None:
    _flags.add_machine(command)


def run(options: Namespace) -> int:
    from ..pipeline.doctor import can_work, doctor, doctor_table

    found = doctor(_options.workspace(options).root, _options.settings(options))
    able = can_work(found)
    options.console.result(doctor_table(found), able=able, findings=found)
    if not able:
        wrong = [each for each in found if each.state == "problem"]
        LOG.error("autoseg cannot work here: %s", "; ".join(f"{each.topic}: {each.found}" for each in wrong))
    return 0 if able else 2
