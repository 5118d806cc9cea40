"""Looks at every file of a dataset once: problems for `check`, numbers for the fingerprint."""
