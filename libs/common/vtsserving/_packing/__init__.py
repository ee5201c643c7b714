"""Custom Runnables as hidden models: their names, what they are made of, and the pickle that carries them."""
