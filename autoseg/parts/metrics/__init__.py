"""Scores of one label of one case. See each file for its formula."""
