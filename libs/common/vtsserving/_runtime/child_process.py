"""Processes that run the code of models: what they get from their parent's environment, and how they end.

Loading a model runs its author's code, so no credential reaches such a process, whoever starts it: a runner, or the one
that saves the model.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "OMP_THREAD_LIMIT",
    "BLIS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "LOKY_MAX_CPU_COUNT",
)

PROCESS_THREADS: Final = "VTSSERVING_PROCESS_THREADS"
"""Threads of the model that a process is for, which the process gets from whoever started it; empty: no limit."""

TOKENIZERS: Final = "TOKENIZERS_PARALLELISM"
"""Whether the tokenizers of Hugging Face use threads; how many says `RAYON_NUM_THREADS`."""

_PR_SET_PDEATHSIG: Final = 1

# ruff: noqa: SIM905  a table of names reads better than a hundred quotes
_PASSED: Final = frozenset(
    """
    PATH HOME USER LOGNAME LANG LANGUAGE TZ TMPDIR LD_LIBRARY_PATH LD_PRELOAD VIRTUAL_ENV SSL_CERT_FILE SSL_CERT_DIR
    PYTHONPATH PYTHONHOME PYTHONHASHSEED PYTHONWARNINGS PYTHONUTF8 PYTHONPYCACHEPREFIX PYTHONDONTWRITEBYTECODE
    OMP_THREAD_LIMIT TOKENIZERS_PARALLELISM RAYON_NUM_THREADS POLARS_MAX_THREADS LOKY_MAX_CPU_COUNT
    VTSSERVING_HOME VTSSERVING_LOG_LEVEL NO_COLOR HF_HOME HF_HUB_OFFLINE TRANSFORMERS_OFFLINE TORCH_HOME
    """.split()
)
_PASSED_PREFIXES: Final = tuple(
    "LC_ CUDA_ NVIDIA_ CUBLAS_ ROCR_ HIP_ OMP_ KMP_ MKL_ OPENBLAS_ MALLOC_ TF_ XLA_ ORT_ PYTORCH_ NUMBA_ XDG_".split()
)
_SECRET: Final = re.compile(
    r"(^|_)(NATS|S3|STORE|AWS|MINIO|AUTH|CREDENTIALS?|\w*(TOKENS?|KEYS?|SECRETS?|PASS|PASSWORD|PASSWD))(_|$)",
    re.I,
)


def is_secret(name: str) -> bool:
    """Whether a variable's name says that it holds a credential; such a one never reaches a model process."""
    return _SECRET.search(name) is not None


def model_environment(
    source: Mapping[str, str], threads: int | None, further: Iterable[str] = ()
) -> dict[str, str]:
    """As `environment`, of a process that is for one model."""
    return {**environment(source, threads, further), PROCESS_THREADS: "" if threads is None else str(threads)}


def environment(
    source: Mapping[str, str], threads: int | None, further: Iterable[str] = ()
) -> dict[str, str]:
    """The environment of a model process.

    Args:
        source: the runner's.
        threads: value of THREAD_VARIABLES; None passes on what `source` has.
        further: names that are passed on beside the usual ones.

    Returns:
        Variables that Python, locales, temporary files and compute libraries need, and no credentials.
    """
    names = _PASSED.union(further)
    kept = {
        name: value
        for name, value in source.items()
        if (name in names or name.startswith(_PASSED_PREFIXES)) and not is_secret(name)
    }
    if threads is not None:
        kept.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
        kept[TOKENIZERS] = "true" if threads > 1 else "false"
    return kept


def end_with_parent(parent_pid: int, *, oom_score: int) -> None:
    """Let this process end when its parent does, leave no core dumps, and go before the parent when memory runs out.

    Args:
        parent_pid: who started this process; if it is gone already, this process ends here.
        oom_score: what the kernel adds to this process's score, from 0 to 1000.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(oom_score))
    if os.getppid() != parent_pid:
        os._exit(1)  # it died before the lines above took effect
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def describe_exit(status: int) -> str:
    """How a process ended, for people."""
    if status >= 0:
        return f"exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
    return "signal SIGKILL; out of memory is the usual cause" if name == "SIGKILL" else f"signal {name}"
