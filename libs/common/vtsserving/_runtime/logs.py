"""Logging of every service: one line per event, JSON to a pipe, readable to a terminal.

Modules log through the standard library (`_log = logging.getLogger(__name__)`; `_log.info("event_name",
extra={...})`), so importing the SDK configures nothing. A service calls `configure` once, in its `__main__`.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Final, TextIO

from vtsserving.exceptions import ConfigurationError

LEVEL_VARIABLE: Final = "VTSSERVING_LOG_LEVEL"
_LEVELS: Final = ("debug", "info", "warning", "error", "critical")

# Chatty at INFO, or telling what our own lines tell already.
_QUIET: Final = ("asyncio", "nats", "uvicorn.access", "urllib3", "httpx2", "httpcore")


def configure(service: str, *, stream: TextIO | None = None, level: str | None = None) -> None:
    """Send all log lines of this process to one place, in one form.

    Calling it again replaces what the last call set up.

    Args:
        service: stands in each line, for example "runner".
        stream: where to; standard error by default. A terminal gets coloured text, anything else JSON lines.
        level: debug, info, warning, error or critical; by default VTSSERVING_LOG_LEVEL, or info.

    Raises:
        ConfigurationError: the level is none of these.
    """
    import structlog

    target = stream or sys.stderr
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _naming(service),
    ]
    render: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if target.isatty():
        render.append(structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ))
    else:
        render += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=repr)]
    handler = logging.StreamHandler(target)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=processors, processors=render))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_level(level))
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _level(level: str | None) -> int:
    name = (level or os.environ.get(LEVEL_VARIABLE) or "info").lower()
    if name not in _LEVELS:
        raise ConfigurationError(f"{LEVEL_VARIABLE} is {name!r}; choose one of {', '.join(_LEVELS)}")
    return int(getattr(logging, name.upper()))


def _naming(service: str) -> Any:
    def add(_logger: Any, _method: str, event: Any) -> Any:
        event["service"] = service
        event.setdefault("pid", os.getpid())
        return event

    return add
