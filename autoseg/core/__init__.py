"""Words everyone shares. No torch, no image formats."""
