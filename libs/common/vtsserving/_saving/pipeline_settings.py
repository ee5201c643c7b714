"""Settings of Transformers' pipelines, kept as data beside the weights: `save_pretrained` does not write them.

A pipeline is more than its model: `top_k`, `function_to_apply`, `aggregation_strategy`, `truncation`, `max_new_tokens`,
`batch_size` and their kind decide what it answers. They are stored in the form of `_wire.values`; what that form does
not have is a dict with one key:

    {"$enum": [module, class, member]}   a member of an enumeration of Transformers
    {"$generation": dict}                a GenerationConfig
    {"$dtype": name}                     a dtype of torch
    {"$part": name}                      a part of the pipeline itself, such as its tokenizer
    {"$pairs": [[key, value], ...]}      a dict with keys that are not text, or with one of these keys
    {"$set": [value, ...]}               a set
    {"$int": text}                       a whole number beyond 64 bits
"""

from __future__ import annotations

import enum
import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vtsserving.exceptions import IntegrityError, SerializationError, VtsServingException

FILE: Final = "pipeline_settings.msgpack"

_PLAIN_FIELDS: Final = ("_batch_size", "_num_workers", "binary_output")
_PARAMETERS: Final = ("_preprocess_params", "_forward_params", "_postprocess_params", "_generate_kwargs")
_FIELDS: Final = (*_PLAIN_FIELDS, *_PARAMETERS, "_generation_defaults", "generation_config", "prefix")
"""Attributes of a pipeline that its constructor fills from its arguments. Transformers has no public names for them."""

_PARTS: Final = ("tokenizer", "feature_extractor", "image_processor", "video_processor", "processor", "model")

_TOKENIZER_FIELDS: Final = (
    "padding_side",
    "truncation_side",
    "model_max_length",
    "clean_up_tokenization_spaces",
    "split_special_tokens",
)
"""Attributes of a tokenizer that may be changed after it was made, which `save_pretrained` does not always write."""

_MARKS: Final = ("$enum", "$generation", "$dtype", "$part", "$pairs", "$set", "$int")


def write_settings(pipeline: Any, folder: Path) -> None:
    """Write what a pipeline was made with.

    Args:
        pipeline: a transformers.Pipeline.
        folder: where `save_pretrained` wrote the rest.

    Raises:
        SerializationError: a setting cannot be written as data; the message names it.
    """
    from vtsserving._wire.values import encode_value

    attributes = vars(pipeline)
    fields = {
        name: _plain(pipeline, attributes[name], name.strip("_").removesuffix("_params"))
        for name in _FIELDS
        if name in attributes
    }
    tokenizer = attributes.get("tokenizer")
    tokenizer_fields = {
        name: _plain(pipeline, getattr(tokenizer, name), f"tokenizer.{name}")
        for name in _TOKENIZER_FIELDS
        if hasattr(tokenizer, name)
    }
    settings = {"fields": fields, "tokenizer": tokenizer_fields, "dtypes": _dtypes(pipeline.model)}
    (folder / FILE).write_bytes(encode_value(settings, "the pipeline's settings"))


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a saved pipeline; empty for one that 0.1 saved.

    Raises:
        BadFrame: the file is not what `write_settings` wrote.
    """
    from vtsserving._wire.values import decode_value

    path = folder / FILE
    settings: dict[str, Any] = decode_value(path.read_bytes()) if path.is_file() else {}
    return settings


def dtype_option(settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The argument of `transformers.pipeline` that loads the weights in the dtype that they were saved in.

    Args:
        settings: of `read_settings`.
        given: the arguments that the caller chose, which win.
    """
    import transformers

    wanted = settings.get("dtypes", {}).get("main")
    if wanted is None or {"dtype", "torch_dtype"} & given.keys():
        return {}
    # Version 4 has the argument under another name.
    name = "dtype" if "dtype" in inspect.signature(transformers.pipeline).parameters else "torch_dtype"
    return {name: _dtype(wanted)}


def restore_settings(pipeline: Any, settings: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Give a loaded pipeline the settings that it was saved with.

    Args:
        pipeline: loaded from the same folder.
        settings: of `read_settings`.
        given: arguments of `transformers.pipeline` that the caller chose, which win.
    """
    if not settings:
        return
    chosen = _chosen(pipeline, given)
    attributes = vars(pipeline)
    for name, raw in settings["fields"].items():
        saved = _value(pipeline, raw)
        if name in chosen:
            attributes[name] = {**saved, **chosen[name]}
        elif name not in _PLAIN_FIELDS or name.strip("_") not in given:
            attributes[name] = saved
    for name, raw in settings["tokenizer"].items():
        value = _value(pipeline, raw)
        if "tokenizer" not in given and getattr(pipeline.tokenizer, name, None) != value:
            setattr(pipeline.tokenizer, name, value)
    if not {"dtype", "torch_dtype", "model_kwargs"} & given.keys():
        _cast(pipeline.model, settings["dtypes"])


def _chosen(pipeline: Any, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those parameters of a pipeline, by attribute, that its caller chose; the others are its class's defaults."""
    import transformers

    factory = inspect.signature(transformers.pipeline).parameters
    generate = dict(vars(pipeline).get("_generate_kwargs") or {})
    known = {*factory, *generate, "torch_dtype", *(name.strip("_") for name in _PLAIN_FIELDS)}
    others = {name: value for name, value in given.items() if name not in known}
    made = pipeline._sanitize_parameters(**others) if others else ({}, {}, {})
    return {**dict(zip(_PARAMETERS, made, strict=False)), "_generate_kwargs": generate}


def _plain(pipeline: Any, value: Any, where: str) -> Any:
    """A value in the form of the file; see the module."""
    import torch

    for part in _PARTS:
        if value is not None and not isinstance(value, str) and value is getattr(pipeline, part, None):
            return {"$part": part}
    if isinstance(value, enum.Enum):
        kind = type(value)
        if _enumeration(kind.__module__, kind.__qualname__) is kind:
            return {"$enum": [kind.__module__, kind.__qualname__, value.name]}
        raise _refused(where, value)
    if isinstance(value, torch.dtype):
        return {"$dtype": str(value).removeprefix("torch.")}
    if isinstance(value, Mapping):
        return _plain_mapping(pipeline, value, where)
    if isinstance(value, list | tuple):
        plain = [_plain(pipeline, item, where) for item in value]
        return plain if isinstance(value, list) else tuple(plain)
    if isinstance(value, set | frozenset):
        return {"$set": sorted((_plain(pipeline, item, where) for item in value), key=repr)}
    if type(value) is int and not -(2**63) <= value < 2**64:
        # The length of a tokenizer without a limit: Transformers says 10**30.
        return {"$int": str(value)}
    if _is_generation_config(value):
        return {"$generation": _plain(pipeline, _generation_dict(value, where), where)}
    return _checked(value, where)


def _plain_mapping(pipeline: Any, value: Mapping[Any, Any], where: str) -> dict[str, Any]:
    items = {key: _plain(pipeline, item, f"{where}.{key}") for key, item in value.items()}
    if all(type(key) is str for key in items) and not any(mark in items for mark in _MARKS):
        return items
    return {"$pairs": [[_plain(pipeline, key, where), item] for key, item in items.items()]}


def _generation_dict(config: Any, where: str) -> dict[str, Any]:
    written: dict[str, Any] = config.to_dict()
    if type(config).from_dict(written).to_dict() != written:
        raise _refused(where, config)
    return written


def _checked(value: Any, where: str) -> Any:
    from vtsserving._wire.values import encode_value

    try:
        encode_value(value, where)
    except VtsServingException as error:
        raise _refused(where, value) from error
    return value


def _refused(where: str, value: Any) -> SerializationError:
    return SerializationError(
        f"the pipeline's setting {where!r} is {type(value).__module__}.{type(value).__qualname__}, which cannot be "
        "written as data, so what is served would answer otherwise; pass it with each call, leave it out, or save the "
        "pipeline with vtsserving.picklable_model, which keeps it as code"
    )


def _value(pipeline: Any, raw: Any) -> Any:
    """The reverse of `_plain`."""
    if isinstance(raw, list | tuple):
        return type(raw)(_value(pipeline, item) for item in raw)
    if not isinstance(raw, dict):
        return raw
    mark = next(iter(raw)) if len(raw) == 1 else ""
    if mark not in _MARKS:
        return {key: _value(pipeline, item) for key, item in raw.items()}
    content = raw[mark]
    if mark == "$enum":
        module, kind, member = content
        return _enumeration(module, kind)[member]
    if mark == "$generation":
        import transformers

        return transformers.GenerationConfig.from_dict(_value(pipeline, content))
    if mark == "$dtype":
        return _dtype(content)
    if mark == "$part":
        if content not in _PARTS:
            raise IntegrityError(f"{FILE} names the part {content!r}, which pipelines do not have")
        return getattr(pipeline, content)
    if mark == "$int":
        return int(content)
    if mark == "$set":
        return {_value(pipeline, item) for item in content}
    return {_value(pipeline, key): _value(pipeline, item) for key, item in content}


def _enumeration(module: str, name: str) -> Any:
    """An enumeration of Transformers.

    Raises:
        IntegrityError: there is none; nothing else is looked up by a name that a file holds.
    """
    inside = module == "transformers" or module.startswith("transformers.")
    found = getattr(importlib.import_module(module), name, None) if inside and name.isidentifier() else None
    if not (isinstance(found, type) and issubclass(found, enum.Enum)):
        raise IntegrityError(f"{FILE} names {module}.{name}, which is not an enumeration of Transformers")
    return found


def _is_generation_config(value: Any) -> bool:
    import transformers

    return type(value) is transformers.GenerationConfig


def _dtype(name: str) -> Any:
    import torch

    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise IntegrityError(f"{FILE} names the dtype {name!r}, which torch does not have")
    return found


def _dtypes(model: Any) -> dict[str, Any]:
    """The dtype that holds all weights exactly, and those of the weights and buffers that have another one."""
    import torch

    tensors = {**dict(model.named_buffers()), **dict(model.named_parameters())}
    floats = {name: one.dtype for name, one in tensors.items() if one.dtype.is_floating_point}
    weights = {one.dtype for one in model.parameters() if one.dtype.is_floating_point}
    if not weights or getattr(model, "is_quantized", False):
        return {"main": None, "others": {}}
    main = weights.pop()
    for dtype in weights:
        main = torch.promote_types(main, dtype)
    names = {name: str(dtype).removeprefix("torch.") for name, dtype in floats.items() if dtype != main}
    return {"main": str(main).removeprefix("torch."), "others": names}


def _cast(model: Any, dtypes: Mapping[str, Any]) -> None:
    if dtypes["main"] is None:
        return
    main = _dtype(dtypes["main"])
    for name, one in [*model.named_buffers(), *model.named_parameters()]:
        wanted = _dtype(dtypes["others"][name]) if name in dtypes["others"] else main
        if one.dtype.is_floating_point and one.dtype != wanted:
            one.data = one.data.to(wanted)
