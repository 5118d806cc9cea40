"""What a person wants to know about a model before using it, as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from ..alignment.record import Alignment
from ..core.estimate import Estimate
from ..core.fusion import STAPLE
from ..core.labels import Labels
from ..core.masks import MaskLabels
from ..core.names import short
from ..corrections import POSTPROCESSORS, Correction
from ..plan import Plan
from .manifest import Manifest, MirroringTest
from .trained import Trained, TrainedRuns

WIDTH = 15  # of what is told, before a space
LONGEST_LINE, MOST_LINES = 4000, 500  # 118 labels with their scores take 3000 characters and 118 lines


def card(trained: Trained, manifest: Manifest | None = None) -> str:
    """Every fact on a line; ``manifest`` may know more than the one of the model."""
    manifest, plan = manifest or trained.manifest, trained.plan
    packed = not isinstance(trained, TrainedRuns)
    written = f"bundle, format {manifest.format}, written by autoseg {manifest.autoseg}" if packed else "not packed yet"
    facts = [
        ("model", f"{manifest.name} ({written})"),
        ("where", f"{trained.path}, {trained.size / 1e6:.1f} MB"),
        *([("source", manifest.source)] if manifest.source else []),
        ("dataset", plan.dataset),
        ("channels", ", ".join(plan.channels)),
        *((name, text) for name, text in [_may_lack(plan, manifest)] if text),
        _labels(plan.labels),
        *(("alignment", _alignment(each, plan.channels)) for each in [plan.alignment] if each),
        *((name, _configuration(plan, name, folds)) for name, folds in manifest.configurations.items()),
        *([("ensemble", _ensemble(manifest))] if len(manifest.configurations) > 1 else []),
        ("mirroring", "; ".join(_mirroring(plan, name, manifest.mirroring.get(name)) for name in manifest.ensemble)),
        ("postprocessing", "; ".join(map(correction, manifest.postprocessing)) or "none"),
        ("temperatures", ", ".join(f"{name} {each:.2f}" for name, each in manifest.temperatures.items()) or "none"),
        ("licence", manifest.licence or "none named"),
        ("citation", manifest.citation or "none named"),
        *_scores(manifest),
    ]
    lines = [
        f"{printable_text(short(name)):{WIDTH}} {printable_text(short(text, LONGEST_LINE))}".rstrip()
        for name, text in facts
    ]
    more = [f"... and {len(lines) - MOST_LINES} lines more"] if len(lines) > MOST_LINES else []
    return "\n".join(lines[:MOST_LINES] + more)


def correction(step: Correction) -> str:
    """``minimum_size of tumour (size 100)``."""
    settings = ", ".join(f"{name} {value:g}" for name, value in asdict(step.method).items())
    name = POSTPROCESSORS.name_of(step.method)
    said = [settings] * bool(settings) + ["what it loses becomes background"] * step.clears
    return f"{name} of {step.label or 'all labels together'}" + (f" ({', '.join(said)})" if said else "")


def printable_text(text: str) -> str:
    """Without what would steer the terminal: a stranger wrote these texts."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _labels(labels: Labels) -> tuple[str, str]:
    if isinstance(labels, MaskLabels):
        written = "channels of one file" if labels.in_channels else "a file each"
        return "masks", f"{', '.join(labels.masks)} ({written}; they may overlap)"
    return "labels", ", ".join(f"{name} = {_values(values)}" for name, values in labels.foreground.items())


def _values(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(values) == 1 else "{" + ", ".join(map(str, values)) + "}"


def _may_lack(plan: Plan, manifest: Manifest) -> tuple[str, str]:
    """Channels that some member does without, and how to say so."""
    members = [[plan.task(stage) for stage in plan.stages(name)] for name in manifest.ensemble]

    def spared(channel: int) -> bool:
        return any(all(task.problem_without((channel,)) is None for task in stages) for stages in members)

    channels = ", ".join(name for number, name in enumerate(plan.channels) if spared(number))
    return "takes one of" if any(task.exclusive for stages in members for task in stages) else "may lack", channels


def _alignment(alignment: Alignment, channels: Sequence[str]) -> str:
    how = f"by {alignment.method} registration" if alignment.registers else "by headers"
    return f"{how}, onto the grid of {channels[alignment.reference]}"


def _configuration(plan: Plan, name: str, folds: tuple[str, ...]) -> str:
    configuration = plan.configurations[name]
    chosen = [plan.channels[channel] for channel in configuration.channels or ()]
    sees = f"; sees {', '.join(chosen)} only" if chosen else ""
    patch = " x ".join(map(str, configuration.patch_size))
    spacing = " x ".join(f"{edge:g}" for edge in configuration.spacing if edge is not None)
    grid = "pixels" if configuration.spacing[0] is None else "voxels"  # slices stay where they are in each image
    return f"fold{'s' * (len(folds) > 1)} {' '.join(folds)}; patch {patch}, {grid} of {spacing} mm{sees}"


def _ensemble(manifest: Manifest) -> str:
    if manifest.combined == STAPLE:
        return f"STAPLE of {', '.join(manifest.ensemble)}"
    said = " + ".join(f"{weight:.3g} x {name}" for name, weight in manifest.ensemble.items())
    return said + (", on average over labels, each of which has its own weights" if manifest.label_weights else "")


def _mirroring(plan: Plan, name: str, test: MirroringTest | None) -> str:
    if not plan.task(name).mirrored:
        return f"{name} cannot be mirrored"
    if test is None:
        return f"{name}: not measured"
    verdict = "pays" if test.pays else "does not pay"
    gain = test.difference.mean or 0.0
    return f"{name}: {verdict} (Dice {gain:+.4f} on {test.difference.cases} cases for {test.passes} times the work)"


def _scores(manifest: Manifest) -> list[tuple[str, str]]:
    if manifest.scores is None:
        return [("scores", "not validated")]
    rows = [*manifest.scores.labels.items(), ("mean over labels", manifest.scores.overall)]
    lines = [f"{short(label)}: {_estimate(row['dice'])}" for label, row in rows if "dice" in row]
    named = " ".join(manifest.scores.folds)
    folds = f"Dice on the validation cases of fold{'s' * (len(manifest.scores.folds) > 1)} {named}"
    subsets = manifest.scores.subsets.items()
    lines += [f"channels {name}: {_estimate(row['dice'])}" for name, row in subsets if "dice" in row]
    return [("scores", folds), *(("", line) for line in lines)]


def _estimate(dice: Estimate) -> str:
    if dice.mean is None:
        return "no case has it"
    interval = f" ({dice.low:.3f}-{dice.high:.3f})" if dice.low is not None and dice.high is not None else ""
    return f"{dice.mean:.3f}{interval}, {dice.cases} cases"
