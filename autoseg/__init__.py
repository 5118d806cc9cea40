"""autoseg: self-configuring segmentation of medical images.

    import autoseg
    autoseg.plan_and_preprocess("Dataset004_Hippocampus")
    autoseg.train("Dataset004_Hippocampus", 0, minutes=15)
    model = autoseg.Model.read(autoseg.newest_model("Dataset004_Hippocampus"))
    labels = model.predict(image)          # SimpleITK image, path, or array with spacing; the same kind comes back

Importing autoseg is cheap: torch is loaded by the first call that needs it.
"""

from .core.imports import leave_current_folder

leave_current_folder()

from typing import TYPE_CHECKING, Any  # noqa: E402

from .api import newest_model, plan_and_preprocess, predict, select, train  # noqa: E402

if TYPE_CHECKING:
    from .inference.model import Model

__all__ = ["Model", "newest_model", "plan_and_preprocess", "predict", "select", "train"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Model":
        from .inference.model import Model

        return Model
    raise AttributeError(f"module 'autoseg' has no attribute {name!r}")
