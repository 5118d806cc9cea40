"""The commands as plain functions for notebooks: the same code, with paths and names as arguments."""

from .baselines import baseline, list_parts, refine
from .datasets import check, convert, plan_and_preprocess
from .images import evaluate, explain, predict
from .machine import doctor
from .models import export, import_model, info, install, load_model, newest_model
from .pictures import mesh, plot
from .trainings import report, search, select, status, train

__all__ = [
    "baseline",
    "check",
    "convert",
    "doctor",
    "evaluate",
    "explain",
    "export",
    "import_model",
    "info",
    "install",
    "list_parts",
    "load_model",
    "mesh",
    "newest_model",
    "plan_and_preprocess",
    "plot",
    "predict",
    "refine",
    "report",
    "search",
    "select",
    "status",
    "train",
]
