"""What was given and what was measured of it: datasets, their layouts and splits, fingerprints."""
