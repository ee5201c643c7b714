"""The model process: loads one model, warms it up, then computes batches until the runner is gone.

Started by the runner as `python -m vtsserving_runner.child.worker`, with one end of a socketpair and an environment
without credentials, because loading a model runs its author's code. It talks to nobody but the runner.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import functools
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from vtsserving._local_store.injected_models import InjectedModels, from_text
from vtsserving._local_store.model import Model
from vtsserving._local_store.resolver import use_resolver
from vtsserving._model.info import ModelInfo
from vtsserving._model.tag import Tag
from vtsserving._runtime import allocator, logs
from vtsserving._saving.input_example import WarmupCall, warmup_calls
from vtsserving._wire import frames
from vtsserving.exceptions import BadFrame, ModelLoadFailed, VtsServingException
from vtsserving_runner.child.executor import BatchExecutor
from vtsserving_runner.child.method_calls import method_of, owned
from vtsserving_runner.child.padding import padded
from vtsserving_runner.process.framing import BlockingLink, now_us
from vtsserving_runner.process.shm_ring import Ring

_log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG: Final = 1
OOM_SCORE_ADJUSTMENT: Final = "500"
TORCH_MODULES: Final = frozenset(("pytorch", "pytorch_lightning", "torchscript", "transformers"))


def main(argv: list[str] | None = None) -> int:
    """Run one model process.

    Args:
        argv: `--fd` (the socket), `--parent` (the runner's pid), `--path` (the model's directory), `--tag`,
            `--device`, `--memory` (descriptors of the memory that is shared: towards this process, back), `--poll-us`
            (see process.busy_poll), `--provided` (models that the model's class uses).

    Returns:
        The exit status: 0 when the runner closed the socket, 1 when the model cannot be loaded.
    """
    parser = argparse.ArgumentParser(prog="vtsserving_runner.child.worker")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--device", default="")
    parser.add_argument("--memory", default="")
    parser.add_argument("--poll-us", type=int, default=0)
    parser.add_argument("--provided", default="[]")
    arguments = parser.parse_args(argv)
    allocator.keep_freed_memory()
    rings = [_ring(int(number)) for number in arguments.memory.split(",") if number]
    link = BlockingLink(socket.socket(fileno=arguments.fd), *rings, poll_us=arguments.poll_us)
    _isolate(arguments.parent)
    logs.configure(f"model {arguments.tag}")
    try:
        model = Model(Tag.parse(arguments.tag), arguments.path)
        use_resolver(InjectedModels(from_text(arguments.provided)))
        loaded = load(model, arguments.device)
    except BaseException as error:  # the author's code may raise anything, SystemExit included
        _log.exception("model_load_failed")
        _send_loaded(link, ModelLoadFailed.code, _load_reason(error))
        return 1
    _send_loaded(link)
    info = model.info
    alive = functools.partial(_send_loaded, link)
    serve(link, BatchExecutor(loaded, info.contracts, alive=alive, pad_to=info.options.pad_to or ()))
    return 0


def load(model: Model, device: str = "") -> object:
    """Load a model and call each method once, where an input is known.

    Args:
        model: its files, which are compared with the manifest first.
        device: where it computes; empty: on a GPU if the model's framework sees one.

    Returns:
        The object that has the model's methods.

    Raises:
        VtsServingException: it cannot be loaded here.
    """
    from vtsserving._saving.framework import load_for_serving

    chosen = device or best_device(model.info.module)
    loaded: object = load_for_serving(model.path, device=chosen)
    warm_up(loaded, in_sizes(warmup_calls(model), model.info))
    # What is loaded stays: the collector need not look at it again in the middle of a batch.
    gc.collect()
    gc.freeze()
    return loaded


def best_device(module: str) -> str | None:
    """The device for a model that names none: a GPU that its framework sees, else the framework's own choice."""
    name = module.rpartition(".")[2]
    try:
        if name in TORCH_MODULES:
            import torch

            return "cuda:0" if torch.cuda.is_available() else None
        if name == "onnx":
            import onnxruntime

            return "cuda:0" if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else None
    except ImportError:
        return None  # loading says which package is missing
    return None


def in_sizes(calls: Iterable[WarmupCall], info: ModelInfo) -> Iterator[WarmupCall]:
    """The same calls; where the model prefers sizes, in each of those that an example can be filled up to."""
    for call in calls:
        signature = info.signatures.get(call.method)
        rows = next((len(argument) for argument in call.args if hasattr(argument, "__len__")), 0)
        wanted = [size for size in info.options.pad_to or () if size >= rows > 0]
        if signature is None or not signature.batchable or signature.batch_dim[0] or not wanted:
            yield call
            continue
        for size in wanted:
            args = tuple(padded(argument, size - rows, 0) for argument in call.args)
            yield call._replace(args=args if size > rows else call.args)


def warm_up(loaded: object, calls: Iterable[WarmupCall]) -> None:
    """Make the calls that bring a model up to speed; what it answers, or raises, is of no account."""
    for call in calls:
        try:
            method_of(loaded, call.method)(*(owned(argument) for argument in call.args))
        except Exception:
            _log.warning("warm_up_raised", exc_info=True, extra={"method": call.method})


def serve(link: BlockingLink, executor: BatchExecutor) -> None:
    """Answer batches until the runner closes the socket.

    Args:
        link: to the runner.
        executor: of the loaded model.

    Raises:
        BadFrame: the runner sent something else than a batch; this process ends.
    """
    while (message := link.receive()) is not None:
        arrived_us, data = message
        batch = frames.decode(data)
        if not isinstance(batch, frames.Batch):
            raise BadFrame(f"a model process takes no {type(batch).__name__}")
        started_us = now_us()
        for answer in executor.run(batch, arrived_us):
            link.send(started_us, answer, finish=answer.last)
        # Nothing of this batch is kept while waiting for the next one.
        del batch, data, message


def _ring(descriptor: int) -> Ring:
    ring = Ring(descriptor)
    os.close(descriptor)
    return ring


def _send_loaded(link: BlockingLink, code: str = "", message: str = "") -> None:
    link.send(now_us(), frames.Loaded(code, message, rss_bytes()))


def rss_bytes() -> int:
    """Resident memory of this process; 0 where it cannot be read."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * resource.getpagesize()


def _load_reason(error: BaseException) -> str:
    if isinstance(error, VtsServingException):
        return error.message
    return f"{type(error).__name__}: {error}"


def _isolate(parent_pid: int) -> None:
    """End with the runner, leave no core dumps, keep standard output free, and let the runner decide when to stop."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            # When memory runs out the kernel shall take a model, not the runner with all of them.
            Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_ADJUSTMENT)
    if os.getppid() != parent_pid:
        os._exit(1)  # the runner died before the line above took effect
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    os.dup2(2, 1)
    # Handlers, not SIG_IGN, which programs that the model starts would inherit.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)


if __name__ == "__main__":
    # Without Python's own clean-up: a model's threads and exit handlers must not keep a dead runner's child alive.
    status = 1
    try:
        status = main()
    except BaseException:
        _log.exception("model_process_failed")
    finally:
        logging.shutdown()
        os._exit(status)
