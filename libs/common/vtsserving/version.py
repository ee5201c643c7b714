"""The one place that says which version this is; the package metadata is built from it."""

__version__ = "0.2.0.dev0"
