"""The workspace that these tests look at."""

from reported import made

__all__ = ["made"]
