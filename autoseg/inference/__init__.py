"""From a trained model and an image to a label map. Knows nothing of training."""
