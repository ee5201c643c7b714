"""What only a bus with a server has: servers that crash, hang, refuse, forbid, and slow networks."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import time
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.buses import Inbox
from support.nats_server import BINARY_VARIABLE, OLDEST, NatsServer, oldest_nats_server
from support.silent_port import silent_port
from support.supervisor import free_port
from support.waiting import eventually
from vtsserving._bus.nats import NatsBus
from vtsserving._inference.pending_queue import BUS_WAIT_S
from vtsserving.exceptions import (
    AuthError,
    BusUnavailable,
    ConfigurationError,
    Forbidden,
    VtsServingException,
)

USERS = """
authorization {
  users = [
    {user: gateway, password: secret, permissions: {publish: "vts.in.>", subscribe: ["vts.back.>", "_INBOX.>"]}}
  ]
}
"""


@pytest.fixture(params=["asyncio", "uvloop", f"asyncio-{OLDEST}"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> asyncio.AbstractEventLoop:
    """Each kind of event loop with the newest server, and one of them with the oldest."""
    if request.param.endswith(OLDEST):
        monkeypatch.setenv(BINARY_VARIABLE, str(oldest_nats_server()))
    made: asyncio.AbstractEventLoop = (
        uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    )
    yield made
    made.run_until_complete(made.shutdown_default_executor())
    made.close()


@pytest.mark.alone
def test_a_server_that_crashes_again_and_again_is_found_again(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    async def scenario(server: NatsServer) -> None:
        bus, inbox = await NatsBus.connect(server.url), Inbox()
        await bus.subscribe("vts.a", inbox)
        for round_number in range(8):
            await asyncio.to_thread(server.kill)
            if round_number % 2:
                await eventually(lambda: not bus.connected)
            await asyncio.to_thread(server.start)
            restarted_s = time.monotonic()
            await eventually(lambda: not bus.connected or bus.connected)
            while True:
                try:
                    await bus.flush()
                    break
                except BusUnavailable:
                    await asyncio.sleep(0.005)
            assert time.monotonic() - restarted_s < 1
            bus.publish("vts.a", b"%d" % round_number)
            await inbox.holds(round_number + 1)
        assert inbox.payloads == [b"%d" % n for n in range(8)]
        await bus.close()

    with NatsServer(tmp_path) as server:
        loop.run_until_complete(scenario(server))


@pytest.mark.alone
@pytest.mark.slow
def test_a_server_that_hangs_is_given_up_in_three_seconds_and_found_again(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    async def scenario(server: NatsServer) -> None:
        bus, inbox = await NatsBus.connect(server.url), Inbox()
        await bus.subscribe("vts.a", inbox)
        server.suspend()
        hung_s = time.monotonic()
        with pytest.raises(BusUnavailable):
            await bus.flush()
        assert time.monotonic() - hung_s < 3.5
        with pytest.raises(BusUnavailable):
            bus.publish("vts.a", b"stale")
        server.resume()
        await eventually(lambda: bus.connected, within_s=3)
        bus.publish("vts.a", b"fresh")
        await inbox.holds(1)
        assert inbox.payloads == [b"fresh"]
        await bus.close()

    with NatsServer(tmp_path) as server:
        loop.run_until_complete(scenario(server))


def test_connecting_waits_for_a_server_that_starts_later(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    async def scenario(server: NatsServer) -> None:
        connecting = asyncio.create_task(NatsBus.connect(server.url, timeout_s=10))
        await asyncio.sleep(0.05)
        assert not connecting.done()
        await asyncio.to_thread(server.start)
        bus = await connecting
        assert bus.connected
        await bus.close()

    server = NatsServer(tmp_path)
    server.port = free_port()
    try:
        loop.run_until_complete(scenario(server))
    finally:
        server.kill()


@pytest.mark.alone
def test_connecting_to_nothing_gives_up_after_its_timeout(loop: asyncio.AbstractEventLoop) -> None:
    async def scenario() -> None:
        began_s = time.monotonic()
        with pytest.raises(BusUnavailable, match=r"127\.0\.0\.1:\d+ within 0\.3 s") as refused:
            await NatsBus.connect(f"nats://me:secret@127.0.0.1:{free_port()}", timeout_s=0.3)
        assert "secret" not in str(refused.value)
        assert time.monotonic() - began_s < 1

    loop.run_until_complete(scenario())


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:4222", "ws://127.0.0.1:4222"])
def test_a_url_of_another_kind_is_refused(loop: asyncio.AbstractEventLoop, url: str) -> None:
    with pytest.raises(ConfigurationError):
        loop.run_until_complete(NatsBus.connect(url, timeout_s=1))


def test_wrong_credentials_are_an_error_at_once(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    with NatsServer(tmp_path, extra=USERS) as server, pytest.raises(AuthError):
        loop.run_until_complete(NatsBus.connect(server.url, user="gateway", password="wrong", timeout_s=10))


def test_a_forbidden_subject_is_fatal(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    async def scenario(server: NatsServer) -> None:
        fatal: list[VtsServingException] = []
        bus = await NatsBus.connect(server.url, user="gateway", password="secret", on_fatal=fatal.append)
        await bus.subscribe("vts.back.1", Inbox())
        assert fatal == []
        with pytest.raises(Forbidden, match=r"vts\.in\.snoop"):
            await bus.subscribe("vts.in.snoop", Inbox())
        assert [type(error) for error in fatal] == [Forbidden]
        bus.publish("vts.elsewhere", b"x", reply="vts.back.1")
        await bus.flush()
        assert [type(error) for error in fatal] == [Forbidden, Forbidden]
        assert "vts.elsewhere" in str(fatal[1])
        await bus.close()

    with NatsServer(tmp_path, extra=USERS) as server:
        loop.run_until_complete(scenario(server))


def test_credentials_that_stop_working_are_fatal(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    async def scenario(server: NatsServer) -> None:
        fatal: list[VtsServingException] = []
        bus = await NatsBus.connect(server.url, user="gateway", password="secret", on_fatal=fatal.append)
        server.kill()
        server._extra = USERS.replace("secret", "changed")
        await asyncio.to_thread(server.start)
        await eventually(lambda: fatal)
        assert isinstance(fatal[0], AuthError)
        assert not bus.connected
        await bus.close()

    with NatsServer(tmp_path, extra=USERS) as server:
        loop.run_until_complete(scenario(server))


def test_memory_stays_bounded_when_the_server_takes_nothing(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    async def scenario(server: NatsServer) -> None:
        bus = await NatsBus.connect(server.url, send_buffer_bytes=4_000_000)
        server.suspend()
        sent = 0
        with pytest.raises(BusUnavailable, match="too slow"):
            for sent in range(1_000):
                bus.publish("vts.a", bytes(100_000))
                if sent % 5 == 0:
                    await asyncio.sleep(0)
        assert sent * 100_000 < 30_000_000
        server.resume()
        await bus.flush()
        bus.publish("vts.a", b"x")
        await bus.close()

    with NatsServer(tmp_path) as server:
        loop.run_until_complete(scenario(server))


def test_a_cluster_url_finds_the_server_that_lives(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    async def scenario(server: NatsServer) -> None:
        bus = await NatsBus.connect(f"nats://127.0.0.1:{free_port()}, {server.url}", timeout_s=10)
        await bus.flush()
        await bus.close()

    with NatsServer(tmp_path) as server:
        loop.run_until_complete(scenario(server))


@pytest.mark.alone
def test_a_server_that_swallows_connections_is_passed_over_in_less_than_the_wait_of_requests(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    async def scenario(url: str) -> None:
        for _ in range(8):  # nats-py begins with any of the two
            began_s = time.monotonic()
            bus = await NatsBus.connect(url, timeout_s=10)
            assert time.monotonic() - began_s < BUS_WAIT_S
            await bus.close()

    with NatsServer(tmp_path) as server, silent_port() as dead:
        loop.run_until_complete(scenario(f"nats://127.0.0.1:{dead},{server.url}"))


def test_an_encrypted_connection_carries_messages(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)

    async def scenario(server: NatsServer) -> None:
        context = ssl.create_default_context(cafile=str(certificate))
        bus, inbox = await NatsBus.connect(server.url, tls=context, timeout_s=10), Inbox()
        await bus.subscribe("vts.a", inbox)
        bus.publish("vts.a", bytes(1_000_000))
        await inbox.holds(1)
        assert len(inbox.payloads[0]) == 1_000_000
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await eventually(lambda: bus.connected)
        await bus.flush()
        await bus.close()

    extra = f'tls {{ cert_file: "{certificate}", key_file: "{certificate.with_suffix(".key")}" }}'
    with NatsServer(tmp_path, extra=extra) as server:
        loop.run_until_complete(scenario(server))


def make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "nats.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path
