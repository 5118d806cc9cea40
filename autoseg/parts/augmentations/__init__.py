"""Random changes of a batch. A part defines ``Spec``; draw first (pure data), then apply (no randomness)."""
