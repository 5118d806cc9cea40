"""autoseg: self-configuring segmentation of medical images.

    import autoseg
    autoseg.plan_and_preprocess("Dataset004_Hippocampus")
    autoseg.train("Dataset004_Hippocampus", 0, minutes=15)
    model = autoseg.load_model("Dataset004_Hippocampus")
    labels = model.predict(image)          # SimpleITK image, path, or array with spacing; the same kind comes back

Importing autoseg is cheap: torch is loaded by the first call that needs it.
"""

from .core.imports import leave_current_folder

leave_current_folder()

from typing import TYPE_CHECKING, Any  # noqa: E402

from . import errors  # noqa: E402
from .api import (  # noqa: E402
    baseline,
    check,
    convert,
    doctor,
    evaluate,
    explain,
    export,
    import_model,
    info,
    install,
    list_parts,
    load_model,
    mesh,
    newest_model,
    plan_and_preprocess,
    plot,
    predict,
    refine,
    report,
    search,
    select,
    status,
    train,
)
from .core.environment import SHORT_WAITS, ask_for  # noqa: E402
from .settings import RunSettings  # noqa: E402

if TYPE_CHECKING:
    from .inference.model import Model
    from .inference.prediction import Prediction
    from .inference.predictor import Predictor

__all__ = [
    "Model",
    "Prediction",
    "Predictor",
    "RunSettings",
    "baseline",
    "check",
    "convert",
    "doctor",
    "errors",
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
__version__ = "0.1.0"
_LATER = {"Model": "model", "Prediction": "prediction", "Predictor": "predictor"}  # of inference, which needs torch

ask_for(SHORT_WAITS)  # or the first prediction takes minutes where another program runs


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.inference.{_LATER[name]}"), name)
    raise AttributeError(f"module 'autoseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    """With what is imported later: ``help`` and completion show it, too."""
    return sorted({*globals(), *__all__})
