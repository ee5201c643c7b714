"""Who may call: tokens that were checked a moment ago are known by their hash, others are looked up off the loop.

A token counts as checked for TTL_S and is renewed in the background before that, so a caller that goes on calling
never waits, and one whose token was revoked is refused soon. While the store cannot be reached, tokens that it has
confirmed are accepted for STALE_S more; unknown ones cannot be.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from cachetools import TTLCache

from vtsserving._auth.tokens import Token, is_token, presented
from vtsserving._recent import RecentDict
from vtsserving._runtime.settings import SharedSettings
from vtsserving.exceptions import AuthError, ConfigurationError, Overloaded, Unavailable
from vtsserving_gateway.auth.sources import FileTokens, StoreTokens

TTL_S: Final = 5.0
"""How long a token counts as checked."""

RENEW_S: Final = 3.0
"""From this age on it is checked again in the background when it is used."""

STALE_S: Final = 300.0
"""How long after its last check a token is accepted while the store cannot be reached."""

PATIENCE_S: Final = 1.0
"""While the store cannot be reached, it is asked again after this time, and not for each request."""

FIRST_TIMEOUT_S: Final = 5.0
RENEWAL_TIMEOUT_S: Final = 1.5
"""Longest wait for the answer about a token, which is shorter where the last answer serves a little longer: the caller
does not notice a store that is silent."""

MAX_REMEMBERED: Final = 4_096
"""Most tokens that are remembered, valid ones and others each."""

MAX_ASKED: Final = 64
"""Most tokens that are looked up at one time; beyond, requests with unknown tokens are refused for the moment."""

THREADS: Final = 2
"""Threads that look tokens up; apart from others, so that made-up tokens hold up nobody else."""

HERE: Final = "this gateway"


Find = Callable[[str, float], Token]


class _CheckedToken(NamedTuple):
    token: Token
    checked_s: float
    ask_again_s: float


class Access:
    """The tokens of one gateway's callers."""

    def __init__(self, find: Find) -> None:
        """Create it inside of a running event loop.

        Args:
            find: looks a token up within so many seconds, and may block; raises AuthError or Unavailable.
        """
        self._find = find
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="tokens")
        self._good: RecentDict[bytes, _CheckedToken] = RecentDict(MAX_REMEMBERED)
        # Apart: made-up tokens push out no good ones.
        self._bad: TTLCache[bytes, str] = TTLCache(MAX_REMEMBERED, TTL_S, timer=self._loop.time)
        self._asking: dict[bytes, asyncio.Task[Token]] = {}

    def close(self) -> None:
        """Look nothing up any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def known(self, headers: Mapping[bytes, bytes]) -> Token | None:
        """The token of a request, if that is known without waiting; else use `token`.

        Args:
            headers: lower-case names.

        Raises:
            AuthError: there is none, or it is known not to be valid.
        """
        text = _text_of(headers)
        key = _key(text)
        checked = self._good.get(key)
        if checked is None:
            message = self._bad.get(key)
            if message is not None:
                raise AuthError(message)
            return None
        now_s = self._loop.time()
        if now_s >= checked.ask_again_s + TTL_S - RENEW_S:
            return None
        if now_s >= checked.ask_again_s:
            self._ask(key, text)
        checked.token.check_age()
        return checked.token

    async def token(self, headers: Mapping[bytes, bytes]) -> Token:
        """The token of a request; callers that present the same one at the same time share one look-up.

        Raises:
            AuthError: there is none, or it is not valid.
            Unavailable: it cannot be looked up now, and was not checked lately.
        """
        known = self.known(headers)
        if known is not None:
            return known
        text = _text_of(headers)
        token = await asyncio.shield(self._ask(_key(text), text))
        token.check_age()
        return token

    def _ask(self, key: bytes, text: str) -> asyncio.Task[Token]:
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= MAX_ASKED:
                raise Overloaded("too many tokens are being checked; try again", retry_after_s=1.0)
            task = self._asking[key] = self._loop.create_task(self._look_up(key, text))
            task.add_done_callback(lambda done: self._finished(key, done))
        return task

    async def _look_up(self, key: bytes, text: str) -> Token:
        checked = self._good.get(key)
        timeout_s = FIRST_TIMEOUT_S if checked is None else RENEWAL_TIMEOUT_S
        try:
            token = await self._loop.run_in_executor(self._threads, self._find, text, timeout_s)
        except (Unavailable, ConfigurationError):
            now_s = self._loop.time()
            if checked is None or now_s - checked.checked_s > STALE_S:
                raise
            self._good[key] = checked._replace(ask_again_s=now_s + PATIENCE_S)
            return checked.token
        except AuthError as error:
            self._good.pop(key, None)
            self._bad[key] = error.message
            raise
        now_s = self._loop.time()
        self._good[key] = _CheckedToken(token, now_s, now_s + RENEW_S)
        self._bad.pop(key, None)
        return token

    def _finished(self, key: bytes, done: asyncio.Task[Token]) -> None:
        self._asking.pop(key, None)
        # Those who wait get the error; a renewal in the background has nobody, and the next request tries again.
        with contextlib.suppress(asyncio.CancelledError):
            done.exception()


def access_of(shared: SharedSettings, listener: socket.socket) -> Access | None:
    """How callers of a gateway are told apart.

    Args:
        shared: whether they must present a token, and who knows the tokens.
        listener: where the gateway listens, which decides if the settings do not.

    Returns:
        None if everybody may call.

    Raises:
        ConfigurationError: tokens are required, and nobody knows any.
    """
    find = check_access(shared, listener)
    return None if find is None else Access(find)


def check_access(shared: SharedSettings, listener: socket.socket) -> Find | None:
    """What looks tokens up for a gateway; see access_of."""
    if shared.auth == "off" or (not shared.auth and _is_loopback(listener)):
        return None
    if shared.tokens_file is not None:
        tokens = FileTokens(shared.tokens_file)
        tokens.check()
        return tokens.find
    if shared.store_url:
        return StoreTokens(shared.store_url).find
    raise ConfigurationError(
        "callers must present tokens, for other machines can reach this gateway or VTSSERVING_AUTH says so; "
        "set VTSSERVING_STORE_URL, or VTSSERVING_TOKENS_FILE to a file that "
        "`vtsserving store token create NAME --scope infer --file FILE` writes, or VTSSERVING_AUTH=off"
    )


def _is_loopback(listener: socket.socket) -> bool:
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    return ipaddress.ip_address(str(listener.getsockname()[0]).partition("%")[0]).is_loopback


def _text_of(headers: Mapping[bytes, bytes]) -> str:
    text = presented(headers.get(b"authorization", b"").decode("latin-1"), HERE)
    if not is_token(text):
        raise AuthError("the token is not valid: it is malformed, unknown or revoked")
    return text


def _key(text: str) -> bytes:
    """What is remembered of a token: not the token, and nothing whose comparison tells anything of it."""
    return hashlib.sha256(text.encode()).digest()
