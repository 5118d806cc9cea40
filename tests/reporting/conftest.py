"""The workspace that these tests look at."""

from predicted import predictions
from reported import made

__all__ = ["made", "predictions"]
