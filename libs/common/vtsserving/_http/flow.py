"""Flow control of a connection."""

from __future__ import annotations

from uvicorn.protocols.http.flow_control import FlowControl


class ReadingFlow(FlowControl):
    """Flow control in which the connection, not only the ASGI application, can hold reading back."""

    held = False

    def hold(self) -> None:
        """Read nothing until `release`."""
        self.held = True
        self.pause_reading()

    def release(self) -> None:
        """Read again."""
        self.held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        """Read again, unless reading is held back."""
        if not self.held:
            super().resume_reading()
