"""Imports over HTTP against a real server: what is followed, what is refused, and what breaks off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.archives import archive_of, save_model, tree
from support.file_servers import HttpServer
from vtsserving._archive import addresses, http_source, import_model
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import AuthError, CorruptArchive, ForbiddenSource, NotFound, Unavailable


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def saved(tmp_path: Path) -> Model:
    return save_model(LocalStore(tmp_path / "origin"), {"weights.bin": bytes(range(256)) * 5_000})


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer().serve() as running:
        yield running


@pytest.mark.parametrize("archive_format", ["vtsmodel", "gz", "zip"])
def test_http_brings_back_the_same_model(
    archive_format: str, server: HttpServer, saved: Model, store: LocalStore
) -> None:
    server.answers["/m"] = (200, {}, archive_of(saved, archive_format))
    assert tree(import_model(f"{server.url}/m", store=store).path) == tree(saved.path)


def test_gz_with_a_content_encoding_is_still_the_archive(
    server: HttpServer, saved: Model, store: LocalStore
) -> None:
    """Web servers like to label .tar.gz files so; a client that believes it would unpack them."""
    server.answers["/m.tar.gz"] = (200, {"content-encoding": "gzip"}, archive_of(saved, "gz"))
    assert import_model(f"{server.url}/m.tar.gz", store=store).tag == saved.tag


def test_redirect_on_the_named_host_is_followed(server: HttpServer, saved: Model, store: LocalStore) -> None:
    server.redirect("/a", "/b")
    server.redirect("/b", f"{server.url}/c")
    server.answers["/c"] = (200, {}, archive_of(saved, "vtsmodel"))
    assert import_model(f"{server.url}/a", store=store).tag == saved.tag
    assert server.requests == [(path, f"127.0.0.1:{server.port}") for path in ("/a", "/b", "/c")]


def test_named_host_is_sent_as_it_was_named(server: HttpServer, saved: Model, store: LocalStore) -> None:
    server.answers["/a"] = (200, {}, archive_of(saved, "vtsmodel"))
    import_model(f"http://localhost:{server.port}/a", store=store)
    assert server.requests == [("/a", f"localhost:{server.port}")]


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("http://127.0.0.2:{port}/b", id="other_loopback"),
        pytest.param("http://localhost:{port}/b", id="loopback_by_name"),
        pytest.param("http://2130706433:{port}/b", id="loopback_decimal"),
        pytest.param("http://[::ffff:127.0.0.1]:{port}/b", id="loopback_mapped"),
        pytest.param("http://[64:ff9b::7f00:1]:{port}/b", id="loopback_nat64"),
        pytest.param("http://0.0.0.0:{port}/b", id="unspecified"),
        pytest.param("http://10.0.0.1/b", id="private"),
        pytest.param("http://192.168.1.1/b", id="private_192"),
        pytest.param("http://100.64.0.1/b", id="shared"),
        pytest.param("http://169.254.169.254/latest", id="metadata"),
        pytest.param("http://[fd00::1]/b", id="private_ipv6"),
        pytest.param("//169.254.169.254/latest", id="without_scheme"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("ftp://127.0.0.1/b", id="ftp"),
        pytest.param("gopher://127.0.0.1/b", id="gopher"),
    ],
)
def test_redirect_to_what_was_not_named_is_refused(
    target: str, server: HttpServer, saved: Model, store: LocalStore
) -> None:
    server.answers["/b"] = (200, {}, archive_of(saved, "vtsmodel"))
    server.redirect("/a", target.format(port=server.port))
    with pytest.raises(ForbiddenSource) as caught:
        import_model(f"{server.url}/a", store=store)
    assert caught.value.exit_code == 2
    assert [path for path, _ in server.requests] == ["/a"]
    assert not store.root.exists()


def test_name_that_resolves_differently_a_moment_later_gains_nothing(
    server: HttpServer, saved: Model, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to the address that was checked; the name is never resolved again."""
    server.answers["/b"] = (200, {}, archive_of(saved, "vtsmodel"))
    asked: list[str] = []

    def changing(host: str, port: int) -> list[addresses.IpAddress]:
        asked.append(host)
        if host == "rebinding.example":
            return addresses.addresses_of("127.0.0.1" if asked.count(host) == 1 else "169.254.169.254", port)
        return addresses.addresses_of(host, port)

    monkeypatch.setattr(http_source, "addresses_of", changing)
    import_model(f"http://rebinding.example:{server.port}/b", store=store)
    assert asked == ["rebinding.example"]


def test_redirects_without_end_are_given_up(server: HttpServer, store: LocalStore) -> None:
    server.redirect("/a", "/a")
    with pytest.raises(Unavailable, match="more than 5"):
        import_model(f"{server.url}/a", store=store)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, AuthError), (403, AuthError), (404, NotFound), (410, NotFound), (500, Unavailable)],
)
def test_status_becomes_an_error(
    status: int, expected: type[Exception], server: HttpServer, store: LocalStore
) -> None:
    server.answers["/a?token=s3cret"] = (status, {}, b"no")
    with pytest.raises(expected, match=r"127\.0\.0\.1"):
        import_model(f"{server.url}/a?token=s3cret", store=store)


def test_secrets_of_a_url_are_not_shown(server: HttpServer, store: LocalStore) -> None:
    with pytest.raises(NotFound) as caught:
        import_model(f"http://user:pa55@127.0.0.1:{server.port}/a?X-Amz-Signature=s3cret", store=store)
    assert "pa55" not in caught.value.message
    assert "s3cret" not in caught.value.message


def test_page_instead_of_an_archive_is_corrupt(server: HttpServer, store: LocalStore) -> None:
    server.answers["/a"] = (200, {}, b"<!doctype html><title>Log in</title>" * 50)
    with pytest.raises(CorruptArchive):
        import_model(f"{server.url}/a", store=store)


def test_download_that_breaks_off_is_unavailable_and_leaves_nothing(
    server: HttpServer, saved: Model, store: LocalStore
) -> None:
    packed = archive_of(saved, "tar")
    server.answers["/a"] = (200, {"content-length": str(len(packed)), "connection": "close"}, packed[:-1_000])
    with pytest.raises(Unavailable, match="broke off"):
        import_model(f"{server.url}/a", store=store)
    assert store.list() == []
    assert list((store.root / ".tmp").iterdir()) == []


def test_closed_port_is_unavailable(store: LocalStore) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        import_model("http://127.0.0.1:9/a", store=store)


def test_unknown_host_is_unavailable(store: LocalStore) -> None:
    with pytest.raises(Unavailable, match=r"no-such-host\.invalid"):
        import_model("http://no-such-host.invalid/a", store=store)
