"""The command line: flags to arguments, errors to messages. The only reader of the environment.

Nothing heavy is imported before a command has been chosen: ``autoseg --help`` must answer at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from pathlib import Path
from typing import TextIO

from . import commands
from .errors import AutosegError

LOG = logging.getLogger("autoseg")
WORKSPACE_VARIABLE = "AUTOSEG_WORKSPACE"
# Read by torch and numpy when they are loaded. Threads that wait for each other in a busy loop take the processor from
# those they wait for as soon as any other program runs: a training step then took up to 9 times as long (2 cores, torch
# 2.13), and preparing cases 12 times. A short busy wait costs nothing on a quiet machine. Our own threads fill the
# cores, so numpy needs none of its own.
CALM_THREADS = {"GOMP_SPINCOUNT": "10000", "OPENBLAS_NUM_THREADS": "1"}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0 done, 1 some cases failed, 2 a message to the user, 130 interrupted.
    """
    options = parser().parse_args(arguments)
    for name, value in CALM_THREADS.items():
        os.environ.setdefault(name, value)
    _log_to(sys.stderr)
    try:
        return int(getattr(commands, options.command)(options) or 0)
    except AutosegError as error:
        sys.stderr.write(f"autoseg {options.command}: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to continue\n")
        return 130


def _log_to(stream: TextIO) -> None:
    """Our own messages, not those of the libraries."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)


def parser() -> argparse.ArgumentParser:
    """All commands and their flags."""
    top = argparse.ArgumentParser(
        prog="autoseg",
        description="Self-configuring segmentation of medical images: one folder in, one model out.",
        epilog="DATASET is a folder, a full name (Dataset004_Hippocampus), a bare name (Hippocampus) or a number (4).",
    )
    steps = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_data_commands(steps)
    _add_train(steps)
    _add_predict(steps)
    _add_evaluate(steps)
    demo = _command(steps, "demo", "the whole pipeline on a small dataset that it generates itself")
    demo.add_argument("folder", nargs="?", type=Path, default=Path("autoseg_demo"), help="where (default: %(default)s)")
    _add_machine(demo)
    return top


def _add_data_commands(steps: argparse._SubParsersAction) -> None:
    check = _command(steps, "check", "list every problem of every case, with what to do")
    check.add_argument("dataset", metavar="DATASET")
    check.add_argument("--fix", action="store_true", help="repair what is only rounding in a header")
    _add_machine(check)

    measure = _command(steps, "fingerprint", "check and measure the dataset")
    plan = _command(steps, "plan", "decide plan.json and folds.json from the fingerprint")
    prepare = _command(steps, "preprocess", "bring every case to the network's grid, as the plan says")
    everything = _command(steps, "plan_and_preprocess", "check, fingerprint, plan and preprocess a dataset")
    for step in (measure, plan, prepare, everything):
        step.add_argument("dataset", metavar="DATASET", nargs="?" if step is plan else None)
        _add_machine(step)
    _add_foreign_plan(plan)
    for step in (plan, everything):
        step.add_argument(
            "--planner", metavar="NAME", help="a file of planners/ (default: cpu, or plain_unet on a GPU)"
        )
        step.add_argument("--group", metavar="PATTERN", help="regular expression naming the patient in a case name")
        _add_wishes(step)
        _add_changes(step)
    for step in (prepare, everything):
        step.add_argument("-c", "--configuration", action="append", metavar="NAME", help="only this one; repeatable")


def _add_foreign_plan(plan: argparse.ArgumentParser) -> None:
    plan.add_argument("--explain", action="store_true", help="say why, for every decision")
    plan.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="two planners' decisions side by side; nothing is written"
    )
    plan.add_argument(
        "--from-fingerprint", type=Path, metavar="FILE", help="plan from nnU-Net's dataset_fingerprint.json"
    )
    plan.add_argument(
        "--dataset-json", type=Path, metavar="FILE", help="the dataset.json that belongs to it (default: beside it)"
    )
    plan.add_argument(
        "--format", choices=("autoseg", "nnunet"), default="autoseg", help="of the plan for -o (default: %(default)s)"
    )
    plan.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write the plan here")


def _add_train(steps: argparse._SubParsersAction) -> None:
    train = _command(steps, "train", "train one fold (or all five in turn) and score its validation cases")
    train.add_argument("dataset", metavar="DATASET")
    train.add_argument(
        "fold", metavar="FOLD", help="0-4, `all` (every case, nothing to validate on) or `cv` (all folds)"
    )
    train.add_argument("-c", "--configuration", metavar="NAME", help="2d, 3d_fullres, ... (default: the plan's)")
    budget = train.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=int, metavar="N", help="train this many epochs")
    budget.add_argument("--time", type=seconds, metavar="T", help="train this long: 90s, 20m, 12h, 1h30m")
    train.add_argument(
        "--checkpoint-every", type=seconds, default=600.0, metavar="T", help="time between checkpoints (default: 10m)"
    )
    _add_changes(train)
    _add_machine(train, seed=True)


def _add_predict(steps: argparse._SubParsersAction) -> None:
    predict = _command(steps, "predict", "segment new images")
    predict.add_argument("-i", "--input", nargs="+", type=Path, required=True, metavar="IN", help="files or a folder")
    predict.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the label maps")
    model = predict.add_mutually_exclusive_group()
    model.add_argument("-d", "--dataset", metavar="DATASET", help="the model trained on this dataset")
    model.add_argument("-m", "--model", type=Path, metavar="MODEL", help="folder of a trained model")
    predict.add_argument("-c", "--configuration", metavar="NAME", help="2d, 3d_fullres, ... (default: newest trained)")
    predict.add_argument("-f", "--folds", nargs="+", metavar="FOLD", help="these folds only (default: all trained)")
    predict.add_argument("--probabilities", action="store_true", help="also write OUT/probabilities/CASE.nii.gz")
    predict.add_argument("--continue", action="store_true", dest="resume", help="keep the label maps that are in OUT")
    predict.add_argument("--no-mirroring", action="store_true", help="faster, slightly less accurate")
    _add_machine(predict)


def _add_evaluate(steps: argparse._SubParsersAction) -> None:
    evaluate = _command(steps, "evaluate", "score predictions against a reference")
    evaluate.add_argument("reference", type=Path, metavar="REFERENCE", help="folder of label files (or one file)")
    evaluate.add_argument("predictions", type=Path, metavar="PREDICTIONS", help="folder of label files (or one file)")
    evaluate.add_argument("--labels", type=Path, metavar="JSON", help="dataset.json that names the labels")
    evaluate.add_argument("-o", "--output", type=Path, metavar="OUT", help="folder for scores.csv and scores.json")
    evaluate.add_argument("--tolerance", type=float, default=1.0, metavar="MM", help="of the surface Dice (default: 1)")
    _add_machine(evaluate)


def _command(steps: argparse._SubParsersAction, name: str, what: str) -> argparse.ArgumentParser:
    command = steps.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    command.add_argument(
        "--workspace",
        type=Path,
        default=Path(os.environ.get(WORKSPACE_VARIABLE, "autoseg_workspace")),
        metavar="FOLDER",
        help=f"where everything is written (default: ${WORKSPACE_VARIABLE}, else ./autoseg_workspace)",
    )
    command.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="allow parts of this package")
    return command


def _add_wishes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--mirror", type=axes, metavar="AXES", help="mirror along these axes of the files only: z,y,x letters, or none"
    )
    command.add_argument(
        "--spacing", type=lengths, metavar="Z,Y,X", help="resample to these mm along the files' axes (default: median)"
    )


def _add_changes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="FIELD=VALUE",
        help="replace a value of the plan, e.g. batch_size=4, 2d.patch_size=64,64 or training.epochs=50; repeatable",
    )


def _add_machine(command: argparse.ArgumentParser, seed: bool = False) -> None:
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    command.add_argument(
        "--threads", type=int, metavar="N", help="processor threads (default: all this process may use)"
    )
    command.add_argument("--precision", default="auto", help="auto, bfloat16, float16, float32 (default: auto)")
    if seed:
        command.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")


def axes(text: str) -> tuple[int, ...]:
    """``z,y`` or ``zy`` as positions in (z, y, x); ``none`` is no axis."""
    letters = text.strip().lower().replace(",", "")
    if letters == "none":
        return ()
    if not letters or not set(letters) <= set("zyx") or len(set(letters)) != len(letters):
        raise argparse.ArgumentTypeError(f"{text!r} names no axes; write some of z,y,x, or none")
    return tuple(sorted("zyx".index(letter) for letter in letters))


def lengths(text: str) -> tuple[float, float, float]:
    """``3,1,1``: three millimetres."""
    try:
        z, y, x = (float(length) for length in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no spacing; write z,y,x in mm, for example 3,1,1") from None
    return z, y, x


def seconds(text: str) -> float:
    """``90s``, ``20m``, ``12h`` or ``1h30m`` as seconds; a bare number is minutes."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip().lower())
    if re.fullmatch(r"\d+(\.\d+)?", text.strip()):
        duration = 60 * float(text)
    elif match and any(match.groups()):
        hours, minutes, rest = (float(group or 0) for group in match.groups())
        duration = 3600 * hours + 60 * minutes + rest
    else:
        duration = 0.0
    if duration <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 90s, 20m, 12h or 1h30m")
    return duration
