"""Python objects that are saved beside a model, each in its own file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from urllib.parse import unquote

from vtsserving._local_store.model import Model
from vtsserving._model.manifest import check_file
from vtsserving._saving import pickles
from vtsserving.exceptions import IntegrityError, InvalidArgument

FOLDER: Final = "custom_objects"
BY_VALUE: Final = "custom_objects_by_value"
"""The key of the manifest's `extra` that says whether their pickles carry code."""

MAX_KEY_CHARS: Final = 80
_SUFFIX: Final = ".pkl"
# Capitals are quoted too: two keys must stay two files where case does not count.
_QUOTED: Final = re.compile(rb"[^-_a-z0-9]")


def write_custom_objects(
    directory: Path, objects: Mapping[str, Any] | None, external_modules: Sequence[ModuleType] = ()
) -> dict[str, Any]:
    """Pickle custom objects into a model's directory.

    Args:
        directory: the model's.
        objects: text to anything.
        external_modules: as for `save_model`.

    Returns:
        What belongs into the manifest's `extra`.

    Raises:
        InvalidArgument: a key is no text.
        SerializationError: an object cannot be pickled; the message names its key.
    """
    if not objects:
        return {}
    if not isinstance(objects, Mapping):
        raise InvalidArgument(f"custom_objects is a dict from text to objects, not {type(objects).__name__}")
    folder = directory / FOLDER
    folder.mkdir()
    has_code = False
    for key, value in objects.items():
        path = folder / _file_name(key)
        has_code |= pickles.dump(value, path, f"the custom object {key!r}", external_modules)
    return {BY_VALUE: has_code}


def load_custom_objects(model: Model) -> dict[str, Any]:
    """Load a model's custom objects, which runs their author's code.

    Raises:
        IntegrityError: a file does not match the manifest.
        PythonVersionMismatch: they carry code of another Python version.
        ModelLoadFailed: one cannot be loaded here.
    """
    entries = [entry for entry in model.manifest.files if entry.path.startswith(f"{FOLDER}/")]
    if not entries:
        return {}
    for entry in entries:
        if not model.path_of(entry.path).is_file():
            raise IntegrityError(f"{model.tag}: the file {entry.path!a} is missing")
        check_file(model.path, entry, str(model.tag))
    has_code = bool(model.info.extra.get(BY_VALUE, True))
    pickles.check_python(model.info.context.python_version, has_code, f"{model.tag}: custom_objects")
    keys = {unquote(entry.path[len(FOLDER) + 1 :].removesuffix(_SUFFIX)): entry.path for entry in entries}
    return {
        key: pickles.load(model.path_of(path), f"{model.tag}: the custom object {key!r}")
        for key, path in keys.items()
    }


def _file_name(key: object) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_CHARS:
        raise InvalidArgument(
            f"a key of custom_objects is text of 1 to {MAX_KEY_CHARS} characters, not {key!r:.90}"
        )
    try:
        raw = key.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"the key {key!a:.90} of custom_objects is not valid Unicode") from error
    return _QUOTED.sub(lambda match: b"%%%02x" % match[0][0], raw).decode() + _SUFFIX
