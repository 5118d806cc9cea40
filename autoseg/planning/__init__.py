"""From fingerprint to plan. Writes no file."""
