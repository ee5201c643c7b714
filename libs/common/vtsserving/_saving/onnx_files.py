"""ONNX models as files: one protobuf of less than 2 GiB, and tensors beside it in files that it names.

    model.onnx                 the graph; small tensors are in it
    external_data/<n>.bin      files that tensors of the graph refer to, under names of ours
    external_data/tensors.bin  tensors that would make the graph larger than a protobuf may be

Exporters write large tensors into files of their own, whose names stand in the graph. They are copied under other
names, so that whatever a graph names meets no file of the model's record, and none is read or written elsewhere.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

from vtsserving._saving.environment import framework_import
from vtsserving.exceptions import InvalidArgument

MODEL_FILE: Final = "model.onnx"
FOLDER: Final = "external_data"

MAX_INLINE_BYTES: Final = 2**30
"""Most bytes of tensors within the graph's own file; a protobuf of 2 GiB or more cannot be written or read."""

MIN_OUTSIDE_BYTES: Final = 1_024
"""Smaller tensors stay in the graph: shapes and axes, which runtimes look at before they load anything."""

_ALIGNMENT: Final = 4_096
"""Where tensors begin in `tensors.bin`, so that a runtime can map each of them."""

_HOLDERS: Final = frozenset(
    (
        "ModelProto",
        "GraphProto",
        "NodeProto",
        "AttributeProto",
        "FunctionProto",
        "SparseTensorProto",
        "TrainingInfoProto",
    )
)
"""Messages that may hold tensors, or others that do."""


def write_model(model: Any, folder: Path) -> Path:
    """Write an ONNX model with everything that belongs to it.

    Args:
        model: an onnx.ModelProto, its bytes, or the path of an .onnx file. Tensors in further files are looked for
            beside the path; those of a ModelProto or of bytes in the working directory, as onnx does.
        folder: where to.

    Returns:
        The graph's file.

    Raises:
        InvalidArgument: it is none of these, or a file that it names is missing, too short or elsewhere.
    """
    target = folder / MODEL_FILE
    if isinstance(model, str | Path):
        path = Path(model)
        if not path.is_file():
            raise InvalidArgument(f"{model} is not a file")
        graph = _parsed(path)
        if graph is None or not any(map(_is_outside, _tensors(graph))):
            shutil.copyfile(path, target)
            return target
        # What a link leads to may lie beside the file that the link of the graph leads to, as in caches of a hub.
        roots = (path.parent.resolve(), path.resolve().parent)
        return _write(graph, folder, path.parent, roots)
    if isinstance(model, bytes):
        graph = _parsed(model)
        if graph is None or not any(map(_is_outside, _tensors(graph))):
            target.write_bytes(model)
            return target
        return _write(graph, folder, Path(), (Path().resolve(),))
    if not hasattr(model, "SerializeToString") or model.DESCRIPTOR.name != "ModelProto":
        raise InvalidArgument(
            f"vtsserving.onnx saves a ModelProto, bytes or a path; not {type(model).__name__}"
        )
    return _write(model, folder, Path(), (Path().resolve(),))


def _write(graph: Any, folder: Path, base: Path, roots: tuple[Path, ...]) -> Path:
    """Write a parsed model, which stays as it is."""
    copies = _Copies(folder / FOLDER, base, roots)
    inside = sum(_size(tensor) for tensor in _tensors(graph) if not _is_missing(tensor))
    with copies:
        written = _copied(graph, functools.partial(copies.tensor, spill=inside > MAX_INLINE_BYTES))
    target = folder / MODEL_FILE
    try:
        target.write_bytes(written.SerializeToString())
    except Exception as error:  # protobuf's errors for a message that is too large differ by version
        raise InvalidArgument(
            f"the model's graph cannot be written as a protobuf: {error}; export it with external data "
            "(onnx.save_model(..., save_as_external_data=True)) and save the path"
        ) from error
    return target


class _Copies:
    """Files of tensors, as they are copied and written."""

    def __init__(self, folder: Path, base: Path, roots: tuple[Path, ...]) -> None:
        self._folder = folder
        self._base = base
        self._roots = roots
        self._copied: dict[str, str] = {}
        self._spilled: BinaryIO | None = None

    def __enter__(self) -> _Copies:
        return self

    def __exit__(self, *_: object) -> None:
        if self._spilled is not None:
            self._spilled.close()

    def tensor(self, tensor: Any, is_initializer: bool, *, spill: bool) -> Any:
        """A copy of a tensor that refers to files of ours, or holds its values itself.

        Args:
            tensor: of the given model.
            is_initializer: whether it is one of a graph's own; runtimes find no files for those of nodes.
            spill: whether large ones are written outside of the graph.
        """
        if _is_missing(tensor):
            return self._referring(tensor)
        if (
            spill
            and is_initializer
            and _size(tensor) >= MIN_OUTSIDE_BYTES
            and tensor.data_type != tensor.STRING
        ):
            return self._spill(tensor)
        copy = type(tensor)()
        copy.CopyFrom(tensor)
        copy.ClearField("external_data")
        copy.ClearField("data_location")
        return copy

    def _referring(self, tensor: Any) -> Any:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if location not in self._copied:
            self._copied[location] = self._copy(location, tensor.name)
        name = self._copied[location]
        _check_range(entries, self._folder / name, location, tensor.name)
        return _outside(tensor, {**entries, "location": f"{FOLDER}/{name}"})

    def _copy(self, location: str, tensor: str) -> str:
        source = _source(location, self._base, self._roots, tensor)
        self._folder.mkdir(exist_ok=True)
        name = f"{len(self._copied)}.bin"
        shutil.copyfile(source, self._folder / name)
        return name

    def _spill(self, tensor: Any) -> Any:
        from onnx import numpy_helper

        if self._spilled is None:
            self._folder.mkdir(exist_ok=True)
            self._spilled = (self._folder / "tensors.bin").open("wb")
        file = self._spilled
        raw = tensor.raw_data or numpy_helper.from_array(numpy_helper.to_array(tensor)).raw_data
        offset = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
        file.seek(offset)
        file.write(raw)
        place = {"location": f"{FOLDER}/tensors.bin", "offset": str(offset), "length": str(len(raw))}
        return _outside(tensor, place)


def _outside(tensor: Any, entries: dict[str, str]) -> Any:
    """A tensor without values, which says where they are."""
    copy = type(tensor)(
        name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, doc_string=tensor.doc_string
    )
    copy.data_location = tensor.EXTERNAL
    for key, value in entries.items():
        copy.external_data.add(key=key, value=value)
    return copy


def _source(location: str, base: Path, roots: tuple[Path, ...], tensor: str) -> Path:
    """The file that a graph names.

    Raises:
        InvalidArgument: there is none, or the name leads elsewhere.
    """
    parts = PurePosixPath(location).parts
    if not parts or location.startswith("/") or ".." in parts or "\\" in location or "\0" in location:
        raise InvalidArgument(
            f"the model's tensor {tensor!a:.80} is in the file {location!a:.200}; only files in the directory of the "
            "model, or below it, are saved with it"
        )
    path = base / location
    if not path.is_file():
        where = f"not in {base}" if base.parts else "not in the working directory"
        raise InvalidArgument(
            f"the model's tensor {tensor!a:.80} is in the file {location!a:.200}, which is {where}; save the path of "
            "the .onnx file, with the files of its tensors beside it"
        )
    real = path.resolve()
    if not any(real.is_relative_to(root) for root in roots):
        raise InvalidArgument(
            f"the model's tensor {tensor!a:.80} is in the file {location!a:.200}, which is a link to outside of the "
            "model's directory; copy that file to the place of the link"
        )
    return real


def _check_range(entries: dict[str, str], file: Path, location: str, tensor: str) -> None:
    size = os.path.getsize(file)
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", "0"))
    except ValueError as error:
        raise InvalidArgument(
            f"the model's tensor {tensor!a:.80} has a place that is not a number"
        ) from error
    if offset < 0 or length < 0 or offset + length > size:
        raise InvalidArgument(
            f"the file {location!a:.200} has {size} bytes, but the model's tensor {tensor!a:.80} ends at "
            f"{offset + length}; export the model again"
        )


def _parsed(model: Path | bytes) -> Any:
    """The message; None where onnx is not installed, or cannot read what its runtime may read."""
    try:
        import onnx
    except ImportError:
        return None
    try:
        if isinstance(model, bytes):
            return onnx.load_model_from_string(model)
        return onnx.load_model(str(model), load_external_data=False)
    except Exception:  # protobuf's errors, which differ by version
        return None


def _copied(message: Any, convert: Callable[[Any, bool], Any], field_name: str = "") -> Any:
    """A copy of a message whose tensors went through `convert`, with whether they are initializers."""
    if message.DESCRIPTOR.name == "TensorProto":
        return convert(message, field_name == "initializer")
    copy = type(message)()
    if message.DESCRIPTOR.name not in _HOLDERS:
        copy.CopyFrom(message)
        return copy
    for field, value in message.ListFields():
        own = getattr(copy, field.name)
        if field.message_type is None:
            if isinstance(value, str | bytes | int | float):
                setattr(copy, field.name, value)
            else:
                own.extend(value)
        elif hasattr(value, "DESCRIPTOR"):
            own.CopyFrom(_copied(value, convert, field.name))
        else:
            own.extend(_copied(item, convert, field.name) for item in value)
    return copy


def _tensors(message: Any) -> Iterator[Any]:
    """All tensors of a message, in whatever graph or function they are."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
    elif message.DESCRIPTOR.name in _HOLDERS:
        for field, value in message.ListFields():
            if field.message_type is not None:
                for item in (value,) if hasattr(value, "DESCRIPTOR") else value:
                    yield from _tensors(item)


def _is_outside(tensor: Any) -> bool:
    return bool(tensor.data_location == tensor.EXTERNAL)


def _is_missing(tensor: Any) -> bool:
    """Whether its values are in a file alone; a tensor that is about to be written there has them still."""
    return _is_outside(tensor) and not tensor.raw_data


def _size(tensor: Any) -> int:
    """Bytes of its values, roughly."""
    counts = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    return len(tensor.raw_data) + 8 * sum(map(len, counts)) + sum(map(len, tensor.string_data))


def reason_of(error: BaseException, folder: Path) -> str:
    """An error's text in one line, without the private directory that a model is put together in."""
    return " ".join(str(error).replace(f"{folder}/", "").split())[:300]


def import_runtime() -> Any:
    """The onnxruntime package.

    Raises:
        MissingDependency: it is not installed.
    """
    with framework_import("onnxruntime", "onnx"):
        import onnxruntime
    return onnxruntime
