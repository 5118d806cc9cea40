"""The models of a workspace as a list: `autoseg info` without a name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..bundle.card import printable_text
from ..bundle.trained import read_trained
from ..core.names import short
from ..errors import AutosegError
from ..model_names import known_models
from ..workspace import Workspace
from .export_bundle import describe

LONGEST_CELL = 40  # characters
USE = {"-m": "installed", "-d": "trained here"}


@dataclass(frozen=True)
class ListedModel:
    """One model, and what `autoseg predict` calls it."""

    name: str
    flag: str
    """``-m`` or ``-d``."""
    path: Path
    configurations: tuple[str, ...]
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    dice: float | None
    """Mean over labels in cross-validation; None: not validated."""
    problem: str | None
    """Why it cannot be used."""


def list_models(workspace: Workspace) -> list[ListedModel]:
    """Those that were installed, then one for each dataset with something trained: selected or trained last."""
    found = []
    for known in known_models(workspace):
        try:
            trained = read_trained(known.path, trusted=workspace.trusted)
            manifest = describe(trained)
        except (AutosegError, OSError) as error:
            found.append(ListedModel(known.name, known.flag, known.path, (), (), (), None, str(error)))
            continue
        plan, dice = trained.plan, manifest.scores.overall.get("dice") if manifest.scores else None
        of_model = tuple(manifest.configurations), plan.channels, tuple(plan.labels.foreground)
        found.append(ListedModel(known.name, known.flag, known.path, *of_model, dice.mean if dice else None, None))
    return found


def model_table(models: list[ListedModel], workspace: Workspace) -> str:
    """Aligned text for a terminal, and how to use one of them."""
    if not models:
        return (
            f"{workspace.root} has no models; `autoseg install FILE` installs one, `autoseg train DATASET 0` trains one"
        )
    rows = [["model", "from", "configurations", "channels", "labels", "Dice"]]
    for model in models:
        cells = [", ".join(names) for names in (model.configurations, model.channels, model.labels)]
        dice = "" if model.dice is None else f"{model.dice:.3f}"
        told = [short(printable_text(cell), LONGEST_CELL) for cell in (model.name, USE[model.flag], *cells)]
        rows.append([*told, "cannot be used" if model.problem else dice])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    first = next((model for model in models if not model.problem), models[0])
    name = printable_text(short(first.name, LONGEST_CELL))
    use = f"use one: autoseg predict {first.flag} {name} -i IN -o OUT; more of it: autoseg info {name}"
    lines += ["", f"none can be used: `autoseg info {name}` says why" if first.problem else use]
    return "\n".join(lines)
