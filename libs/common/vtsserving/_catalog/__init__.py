"""Tags to exact versions with what is known about them, and what a model needs of a runner."""
