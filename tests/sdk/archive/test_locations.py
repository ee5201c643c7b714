"""How the places that users name are read and shown."""

from __future__ import annotations

import ipaddress

import pytest

from vtsserving._archive.addresses import check_named, check_redirect
from vtsserving._archive.formats import format_of_name, parse_format
from vtsserving._archive.locations import parse_location
from vtsserving.exceptions import ForbiddenSource, InvalidArgument

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("./a.tar", "./a.tar"),
        ("ftp://user:secret@host/a", "ftp://host/a"),
        ("https://token@host:8443/a?X-Amz-Signature=abc#x", "https://host:8443/a"),
        ("S3://bucket/a", "s3://bucket/a"),
    ],
)
def test_secrets_are_not_shown(text: str, shown: str) -> None:
    assert parse_location(text).shown == shown


@pytest.mark.parametrize(
    ("text", "name"),
    [("a/b.tar", "b.tar"), ("a/", ""), ("s3://b/p/", ""), ("s3://b", ""), ("http://h/x?y=/z", "x")],
)
def test_file_name_is_the_last_part(text: str, name: str) -> None:
    assert parse_location(text).file_name == name


def test_children_keep_the_query_and_the_password() -> None:
    assert parse_location("ftp://u:p@h/d/").child("f").address == "ftp://u:p@h/d/f"
    assert parse_location("s3://bucket").child("f").address == "s3://bucket/f"
    assert parse_location("dir").child("f").address == "dir/f"
    assert parse_location("s3://b/f").with_suffix(".vtsmodel").address == "s3://b/f.vtsmodel"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.vtsmodel", "vtsmodel"), ("a.tar", "tar"), ("a.tar.gz", "gz"), ("a.TGZ", "gz"), ("a.tar.xz", "xz"),
        ("a.tar.bz2", "bz2"), ("a.zip", "zip"), ("a", None), ("a.bin", None), (".tar", None), ("", None),
    ],
)  # fmt: skip
def test_names_tell_their_format(name: str, expected: str | None) -> None:
    assert format_of_name(name) == expected


def test_formats_have_their_usual_names_too() -> None:
    assert [parse_format(name) for name in ("gz", ".tar.gz", "TGZ", "folder", "tar.zst")] == [
        "gz", "gz", "gz", "folder", "vtsmodel",
    ]  # fmt: skip
    with pytest.raises(InvalidArgument):
        parse_format("")


PUBLIC = ["93.184.216.34", "2606:2800:220:1::1"]
LOCAL = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.0.1",
    "::1",
    "fd00::1",
    "100.64.0.1",
    "0.0.0.0",
    "::",
]
FORBIDDEN = [
    "169.254.169.254", "169.254.0.1", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "100.100.100.200",
    "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "224.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("address", [*PUBLIC, *LOCAL])
def test_users_may_name_any_ordinary_address(address: str) -> None:
    check_named("host", [ipaddress.ip_address(address)])


@pytest.mark.parametrize("address", FORBIDDEN)
def test_metadata_addresses_are_refused_even_when_named(address: str) -> None:
    with pytest.raises(ForbiddenSource):
        check_named("host", [ipaddress.ip_address(PUBLIC[0]), ipaddress.ip_address(address)])
    with pytest.raises(ForbiddenSource):
        check_redirect("host", [ipaddress.ip_address(address)], "host")


@pytest.mark.parametrize("address", LOCAL)
def test_redirects_reach_local_addresses_only_on_the_named_host(address: str) -> None:
    check_redirect("host", [ipaddress.ip_address(address)], "host")
    with pytest.raises(ForbiddenSource):
        check_redirect("other", [ipaddress.ip_address(PUBLIC[0]), ipaddress.ip_address(address)], "host")


@pytest.mark.parametrize("address", PUBLIC)
def test_redirects_reach_public_addresses(address: str) -> None:
    check_redirect("other", [ipaddress.ip_address(address)], "host")
