"""Secrets that stand in files, as Docker and Kubernetes hand them over."""

from __future__ import annotations

from pathlib import Path

from vtsserving.exceptions import ConfigurationError


def read_secret(file: str | Path, variable: str) -> str:
    """The secret in a file, without blanks and line ends around it.

    Args:
        file: its path.
        variable: the environment variable that names the file, for the error.

    Raises:
        ConfigurationError: the file cannot be read, or is not UTF-8; names variable and file, never the content.
    """
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"{variable}: {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Without its cause: that quotes the bytes.
        raise ConfigurationError(f"{variable}: {file} cannot be read: it is not UTF-8 text") from None
