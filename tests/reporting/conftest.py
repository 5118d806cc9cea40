"""The workspace that these tests look at, and what looks at its pages."""

from browsing import browser
from predicted import predictions
from reported import made

__all__ = ["browser", "made", "predictions"]
