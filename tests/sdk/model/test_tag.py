"""Tags: the grammar, and generated versions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtsserving._model.tag import (
    VERSION_ALPHABET,
    Tag,
    check_alias,
    check_new_version,
    is_valid_part,
    new_version,
)
from vtsserving.exceptions import InvalidTag

pytestmark = pytest.mark.fast

BAD_PARTS = {
    "empty": "",
    "64 characters": "a" * 64,
    "dots": "..",
    "option": "-rf",
    "space": "a b",
    "newline": "a\n",
    "NUL": "a\x00b",
    "percent": "%2e%2e",
    "trailing dot": "a.",
    "slash": "a/b",
    "backslash": "a\\b",
    "con": "con",
    "nul with extension": "nul.txt",
    "com1": "com1",
    "fullwidth": "\uff41bc",
    "dotless i": "\u0131ris",
    "Kelvin sign": "\u212aelvin",
    "zero width": "iris\u200b",
    "NFD": "cafe\u0301",
    "underscore first": "_a",
}


@pytest.mark.parametrize("part", BAD_PARTS.values(), ids=BAD_PARTS.keys())
def test_a_part_outside_the_grammar_is_refused_as_name_and_as_version(part: str) -> None:
    for make in (lambda: Tag(part), lambda: Tag("iris", part), lambda: Tag.parse(f"iris:{part}")):
        with pytest.raises(InvalidTag):
            make()
    assert not is_valid_part(part)


@pytest.mark.parametrize("part", ["a", "0", "a" * 63, "iris_clf", "v1.0-rc.2", "a..b", "2uo5fkgxj27exuqj"])
def test_a_part_within_the_grammar_is_accepted(part: str) -> None:
    assert str(Tag.parse(f"{part}:{part}")) == f"{part}:{part}"


def test_two_colons_are_refused() -> None:
    with pytest.raises(InvalidTag):
        Tag.parse("iris:v1:v2")


@pytest.mark.parametrize("value", [None, 1, b"iris", ("iris", "v1")])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidTag):
        Tag.parse(value)  # type: ignore[arg-type]


def test_upper_case_is_lowered_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="in lower case"):
        tag = Tag.parse("Iris:V1")
    assert tag == Tag("iris", "v1")


def test_a_reserved_name_is_refused() -> None:
    with pytest.raises(InvalidTag, match="reserved"):
        Tag("stats")


def test_latest_is_a_reference_and_no_version() -> None:
    assert Tag.parse("iris:latest").version == "latest"
    with pytest.raises(InvalidTag, match="latest"):
        check_new_version("latest")


def test_parsing_changes_nothing() -> None:
    assert Tag.parse("iris") == Tag("iris", None)
    tag = Tag("iris", "v1")
    assert Tag.parse(tag) is tag


@pytest.mark.parametrize(
    "alias", ["latest", "1st", "-x", "x-", "a_b", "a.b", "A", "a" * 64, "abcdefghijklmnop", ""]
)
def test_an_alias_that_could_be_taken_for_something_else_is_refused(alias: str) -> None:
    with pytest.raises(InvalidTag):
        check_alias(alias)


@pytest.mark.parametrize("alias", ["production", "p", "v1-stable", "abcdefghijklmno"])
def test_a_plain_alias_is_accepted(alias: str) -> None:
    assert check_alias(alias) == alias


@given(st.integers(0, 2**48 - 2), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_version_of_a_later_millisecond_sorts_later(t_ms: int, first: int, second: int) -> None:
    assert new_version(t_ms, first) < new_version(t_ms + 1, second)


@given(st.integers(0, 2**48 - 1))
def test_a_generated_version_is_16_characters_of_the_alphabet_and_a_valid_version(t_ms: int) -> None:
    version = new_version(t_ms)
    assert len(version) == 16
    assert set(version) <= set(VERSION_ALPHABET)
    assert is_valid_part(version)


def test_the_bits_of_a_version_are_the_time_and_then_the_random_ones() -> None:
    value = 0
    for char in new_version(0x123456789ABC, 0xDEF01234):
        value = value * 32 + VERSION_ALPHABET.index(char)
    assert value == 0x123456789ABCDEF01234
