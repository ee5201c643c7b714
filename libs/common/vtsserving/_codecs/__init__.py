"""JSON and `.npy` to values, and back."""
