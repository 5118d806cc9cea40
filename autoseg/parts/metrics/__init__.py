"""Scores of one label of one case. See each file for its formula; the scores' names end in their unit."""
