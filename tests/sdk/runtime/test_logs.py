"""One line per event, for machines and for people."""

from __future__ import annotations

import io
import json
import logging

import pytest

from vtsserving._runtime import logs
from vtsserving.exceptions import ConfigurationError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_one_json_object_per_event() -> None:
    stream = io.StringIO()
    logs.configure("runner", stream=stream)
    logging.getLogger("some.module").info("model_loaded", extra={"model": "m:1", "rss_bytes": 5})
    event = json.loads(stream.getvalue())
    assert (event["event"], event["model"], event["rss_bytes"]) == ("model_loaded", "m:1", 5)
    assert (event["service"], event["level"], event["logger"]) == ("runner", "info", "some.module")


def test_an_exception_stays_on_its_line() -> None:
    stream = io.StringIO()
    logs.configure("runner", stream=stream)
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger().exception("it_failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: why" in json.loads(line)["exception"]


def test_a_value_that_json_does_not_know_is_shown_not_raised() -> None:
    stream = io.StringIO()
    logs.configure("runner", stream=stream)
    logging.getLogger().warning("odd", extra={"value": {1, 2}})
    assert json.loads(stream.getvalue())["value"] == "{1, 2}"


def test_a_terminal_gets_text() -> None:
    stream = Terminal()
    logs.configure("runner", stream=stream)
    logging.getLogger().info("model_loaded", extra={"model": "m:1"})
    assert "model_loaded" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_the_level_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(logs.LEVEL_VARIABLE, "WARNING")
    stream = io.StringIO()
    logs.configure("runner", stream=stream)
    logging.getLogger().info("not_shown")
    logging.getLogger().warning("shown")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["shown"]


def test_an_unknown_level_names_the_setting() -> None:
    with pytest.raises(ConfigurationError, match="VTSSERVING_LOG_LEVEL"):
        logs.configure("runner", level="loud")
