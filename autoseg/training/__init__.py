"""The training loop. Knows nothing of inference."""
