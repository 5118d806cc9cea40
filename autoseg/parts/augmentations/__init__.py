"""Random changes of a batch. A part defines ``Spec``; draw first (pure data), then read, then apply (no randomness).

Of every patch that region is read which ``needed_shape`` names for what was drawn, and ``loaded_shape`` is the largest.
Where several processes share a batch, each applies what was drawn for its patches: what ``draw`` returns is None or has
``of_patches(start, stop)``.
"""
