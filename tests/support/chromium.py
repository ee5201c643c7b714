"""A real Chromium without a window, driven over its own debugging pipe; no driver program, no package."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

BINARIES: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.01
_KEYS: Final = {"Tab": 9, "Enter": 13, "Space": 32}


class Chromium:
    """One browser process; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        """Create it, not started.

        Args:
            folder: an existing, empty folder of the test's own, for the profile and the log.
        """
        self._folder = folder
        self._last_id = 0
        self._received = bytearray()
        self.events: list[dict[str, Any]] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Chromium:
        binary = next((found for name in BINARIES if (found := shutil.which(name))), None)
        assert binary is not None, "no Chromium is installed: run scripts/chromium.sh"
        # The browser reads commands from descriptor 3 and answers on 4.
        pipes = ["sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >&2', "sh"]
        with (self._folder / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*pipes, binary, *FLAGS, f"--user-data-dir={self._folder / 'profile'}", "about:blank"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are kept."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._last_id += 1
        command: dict[str, Any] = {"id": self._last_id, "method": method, "params": params}
        if session:
            command["sessionId"] = session
        self._process.stdin.write(json.dumps(command).encode() + b"\0")
        self._process.stdin.flush()
        deadline_s = time.monotonic() + TIMEOUT_S
        while True:
            message = self._next_message(deadline_s, method)
            if message.get("id") != self._last_id:
                self.events.append(message)
            elif "error" in message:
                raise BrowserError(f"{method}: {message['error']['message']}")
            else:
                result: dict[str, Any] = message["result"]
                return result

    @contextlib.contextmanager
    def page(self, origin: str, *, width: int = 1280, height: int = 800) -> Iterator[Page]:
        """A tab without cookies or history.

        Args:
            origin: of the site under test, such as `http://127.0.0.1:3001`.
            width: of the window, pixels.
            height: of the window, pixels.
        """
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        granted = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        self.call("Browser.grantPermissions", permissions=granted, origin=origin, browserContextId=context)
        page = Page(self, session, origin)
        for domain in ("Page", "Runtime", "Log", "Audits"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        page.window(width, height)
        yield page
        self.call("Target.disposeBrowserContext", browserContextId=context)

    def _next_message(self, deadline_s: float, waiting_for: str) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0, deadline_s - time.monotonic()))
            chunk = os.read(self._process.stdout.fileno(), 1 << 20) if ready else b""
            if not chunk:
                log = (self._folder / "chromium.log").read_text(errors="replace")
                raise BrowserError(f"no answer to {waiting_for}; the browser's log ends with: {log[-2000:]}")
            self._received += chunk
        text, _, rest = bytes(self._received).partition(b"\0")
        self._received = bytearray(rest)
        message: dict[str, Any] = json.loads(text)
        return message


class BrowserError(Exception):
    """The browser refused a command or did not answer."""


class Page:
    """One tab: what a user does, and what a user sees."""

    def __init__(self, browser: Chromium, session: str, origin: str) -> None:
        self._browser = browser
        self._session = session
        self._origin = origin

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command to this tab."""
        return self._browser.call(method, self._session, **params)

    def go(self, path: str) -> None:
        """Open a page of the site and return when it is loaded."""
        self._mark()
        self.call("Page.navigate", url=self._origin + path)
        self._loaded()

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Return as soon as an expression is true; pages may change meanwhile."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while True:
            with contextlib.suppress(BrowserError):
                if self.run(script):
                    return
            assert time.monotonic() < deadline_s, f"never true: {script}; the page: {self.text()}"
            time.sleep(_POLL_S)

    def text(self, selector: str = "body") -> str:
        """What a user reads there."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """Press and release the mouse on an element, after scrolling to it."""
        where = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return {x: b.x + b.width / 2, y: b.y + b.height / 2}; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)

    def fill(self, selector: str, text: str) -> None:
        """Replace what a field holds, by typing."""
        self.click(selector)
        self.run("document.activeElement.select()")
        self.type(text)

    def type(self, text: str) -> None:
        """Type into what has the focus; an empty text deletes what is selected."""
        if text:
            self.call("Input.insertText", text=text)
        else:
            for kind in ("keyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key="Delete", windowsVirtualKeyCode=46)

    def press(self, key: str) -> None:
        """Press Tab, Enter or Space."""
        typed = {"Enter": "\r", "Space": " "}.get(key, "")
        name = " " if key == "Space" else key
        self.call(
            "Input.dispatchKeyEvent",
            type="keyDown",
            key=name,
            code=key,
            windowsVirtualKeyCode=_KEYS[key],
            text=typed,
        )
        self.call(
            "Input.dispatchKeyEvent", type="keyUp", key=name, code=key, windowsVirtualKeyCode=_KEYS[key]
        )

    @contextlib.contextmanager
    def leaving(self) -> Iterator[None]:
        """Return when what is done inside has led to another page, and that is loaded."""
        self._mark()
        yield
        self._loaded()

    def window(self, width: int, height: int, *, phone: bool = False) -> None:
        """Change the size of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def dark(self, on: bool = True) -> None:
        """Prefer dark colours, or light ones."""
        wanted = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self.call("Emulation.setEmulatedMedia", features=[wanted])

    def picture(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def complaints(self) -> list[str]:
        """What the browser's console shows as wrong, and what the content policy stopped."""
        self.run("1")  # what was said before comes first
        found = []
        for event in self._browser.events:
            if event.get("sessionId") == self._session:
                method, params = event["method"], event["params"]
                bad = (
                    method in ("Runtime.exceptionThrown", "Audits.issueAdded")
                    or (method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"))
                    or (method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"))
                )
                if bad:
                    found.append(json.dumps(params)[:600])
        return found

    def forget_complaints(self) -> None:
        """Drop those that were expected."""
        self._browser.events.clear()

    def _mark(self) -> None:
        self.run("window.leaving = true")

    def _loaded(self) -> None:
        self.until("!window.leaving && document.readyState === 'complete'")
