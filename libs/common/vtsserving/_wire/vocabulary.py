"""The words of frames: operations, events, roles and states.

They are types for the checker and plain strings at run time, since an Event is decoded for every batch. A frame may
hold a word of a later release, which a receiver leaves alone.
"""

from __future__ import annotations

from typing import Literal

OrderOp = Literal["load", "unload"]
"""What a gateway orders a batcher to do; see Control."""

ControlOp = Literal["load", "unload", "release"]
"""What a batcher has a runner do; see Control."""

PrepareOp = Literal["know", "succeed", "release"]
"""What a gateway says of a model beside requests and orders; see Prepare."""

EventName = Literal["credit", "done", "nack", "gone", "failed", "unloaded", "reconnected"]
"""What happened to a model process or a batch; see Event."""

Role = Literal["gateway", "batcher", "runner"]
"""Whose heartbeat it is."""

BeatState = Literal["ready", "reconnected", "draining"]
"""How a process is; see Heartbeat."""

ModelStateName = Literal["ready", "loading", "unloading", "failed"]
"""How a model is; see ModelReport. Of batchers only those that are not simply loaded."""
