"""`autoseg plan`: from a measured dataset, or from nnU-Net's own fingerprint."""

from __future__ import annotations

import argparse
import logging
from argparse import ArgumentParser, Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from . import _flags, _options, _planning_flags

if TYPE_CHECKING:
    from ..data.fingerprint import Fingerprint
    from ..pipeline.make_plan import PlanRequest
    from ..plan import Plan

LOG = logging.getLogger("autoseg")
HELP = "decide plan.json and folds.json from the fingerprint"
EXAMPLES = (
    "autoseg plan Hippocampus --explain",
    "autoseg plan Hippocampus --time 12h --memory 8GB",
    "autoseg plan Hippocampus --compare measured plain_unet",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("dataset", type=_flags.word, metavar="DATASET", nargs="?")
    command.add_argument("--explain", action="store_true", help="say why, for every decision, and what was measured")
    command.add_argument(
        "--compare",
        nargs=2,
        type=_flags.word,
        metavar=("A", "B"),
        help="two planners' decisions side by side; nothing is written",
    )
    command.add_argument(
        "--from-fingerprint", type=_flags.path, metavar="FILE", help="plan from nnU-Net's dataset_fingerprint.json"
    )
    command.add_argument(
        "--dataset-json",
        type=_flags.path,
        metavar="FILE",
        help="the dataset.json that belongs to it (default: beside it)",
    )
    command.add_argument(
        "--format", choices=("autoseg", "nnunet"), default="autoseg", help="of the plan for -o (default: %(default)s)"
    )
    command.add_argument("-o", "--output", type=_flags.path, metavar="FILE", help="also write the plan here")
    command.add_argument("--held", action="store_true", help=argparse.SUPPRESS)  # by the training that asks for a plan
    _planning_flags.add_planning(command)
    _flags.add_machine(command)


def run(options: Namespace) -> None:
    import json

    from ..core.locks import alone
    from ..core.records import to_json, write_json
    from ..interop.nnunet_plans import nnunet_plans
    from ..pipeline import plan_and_preprocess as story
    from ..pipeline.plan_from_fingerprint import plan_from_fingerprint

    path, request = options.from_fingerprint, _options.request(options)
    _options.output_file(options.output)
    if (options.dataset is None) == (path is None):
        raise UsageError("plan needs either a DATASET or --from-fingerprint FILE")
    if options.compare:
        return _compare(options)
    if path is None:
        files = _options.dataset_folder(options, writing=True)
        with nullcontext() if options.held else alone(files.plan_lock, "plan"):
            dataset, measured = files.read_dataset(), files.read_fingerprint()
            planned = story.plan(files, dataset, measured, request, folds=_options.fold_rules(options))
    else:
        planned, measured = plan_from_fingerprint(path, _described(options), _for_nnunet(request))
    said = [explained(planned, measured)] if options.explain else []
    content = nnunet_plans(planned, measured) if options.format == "nnunet" else planned
    if options.output is not None:
        write_json(options.output, content)
    elif (path is not None and not options.explain) or options.format != "autoseg":
        said.append(json.dumps(to_json(content), indent=2))
    written = [*([options.output] if options.output else []), *([files.plan, files.folds] if path is None else [])]
    options.console.result("\n".join(said), plan=content, files=written)


def explained(planned: Plan, measured: Fingerprint) -> str:
    """What was measured of each channel, and every decision with its reasons."""
    from ..inspection.channel_table import channel_table
    from ..planning.explain import explanation

    table = channel_table(measured, planned.dataset, planned.channels, planned.alignment)
    return "\n\n".join(filter(None, [table, explanation(planned)]))


def _compare(options: Namespace) -> None:
    from ..pipeline.make_plan import make_plan
    from ..pipeline.plan_from_fingerprint import plan_from_fingerprint
    from ..planning.explain import comparison

    requests = [_of_planner(_options.request(options), name) for name in options.compare]
    if options.from_fingerprint is None:
        files = _options.dataset_folder(options)
        measured = files.read_dataset(), files.read_fingerprint(), files.steps
        plans = [make_plan(request, *measured) for request in requests]
    else:
        paths = options.from_fingerprint, _described(options)
        plans = [plan_from_fingerprint(*paths, request)[0] for request in requests]
    options.console.result(comparison(plans), plans=plans)


def _of_planner(request: PlanRequest, name: str) -> PlanRequest:
    """``request`` as the planner ``name`` can take it: some have a length, memory and machine of their own."""
    from dataclasses import replace

    from ..pipeline.make_plan import planner_of
    from ..planning.measured import MeasuringPlanner

    request = replace(request, planner=name)
    if isinstance(planner_of(request), MeasuringPlanner):
        return request
    asked = request.constraints
    given = {"--memory": asked.memory, "--time": asked.seconds, "--target": request.target}
    if flags := [flag for flag, value in given.items() if value is not None]:
        LOG.info("%s of %s: it has a fixed budget, and is shown with that", " and ".join(flags), name)
    return replace(request, constraints=replace(asked, memory=None, seconds=None), target=None)


def _described(options: Namespace) -> Path:
    """The dataset.json that belongs to nnU-Net's fingerprint."""
    described: Path = options.dataset_json or options.from_fingerprint.with_name("dataset.json")
    return described


def _for_nnunet(request: PlanRequest) -> PlanRequest:
    """By default what nnU-Net would plan."""
    from dataclasses import replace

    return replace(request, planner=request.planner or "plain_unet")
