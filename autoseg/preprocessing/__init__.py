"""From the file's grid to the network's, and the record that leads back."""
