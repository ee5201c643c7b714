"""What a model process gets from the runner's environment, and what it never gets."""

from __future__ import annotations

import pytest

from vtsserving._runtime.child_process import (
    THREAD_VARIABLES,
    TOKENIZERS,
    describe_exit,
    environment,
    is_secret,
)

pytestmark = pytest.mark.fast

SECRETS = [
    "VTSSERVING_NATS_URL",
    "VTSSERVING_NATS_PASSWORD",
    "VTSSERVING_STORE_TOKEN",
    "VTSSERVING_STORE__S3_SECRET_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "HF_TOKEN",
    "MINIO_ROOT_PASSWORD",
    "OPENAI_API_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "DB_PASSWORD",
    "MY_APIKEY",
    "CUDA_TOKEN",
    "XDG_SECRET_FILE",
]
USEFUL = [
    *("PATH", "HOME", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH"),
    *("CUDA_VISIBLE_DEVICES", "OMP_PROC_BIND", "VTSSERVING_HOME"),
]


@pytest.mark.parametrize("name", SECRETS)
def test_credentials_do_not_reach_a_model_even_when_they_are_asked_for(name):
    assert name not in environment({name: "x", "PATH": "/bin"}, 1, further=SECRETS)
    assert is_secret(name) or not name.startswith(("CUDA", "XDG"))


@pytest.mark.parametrize("name", USEFUL)
def test_what_python_and_compute_libraries_need_is_passed_on(name):
    assert environment({name: "x"}, None) == {name: "x"}


def test_unknown_variables_are_passed_on_only_when_named():
    source = {"MODEL_DATA_DIR": "/data", "PIP_INDEX_URL": "https://user:password@host"}
    assert environment(source, None) == {}
    assert environment(source, None, ["MODEL_DATA_DIR"]) == {"MODEL_DATA_DIR": "/data"}


def test_thread_counts_are_set_over_what_was_inherited():
    both = {**dict.fromkeys(THREAD_VARIABLES, "2"), TOKENIZERS: "true"}
    assert environment({"OMP_NUM_THREADS": "64"}, 2) == both
    assert environment({TOKENIZERS: "true"}, 1)[TOKENIZERS] == "false"


def test_without_a_thread_count_the_inherited_one_holds():
    assert environment({"OMP_NUM_THREADS": "64"}, None) == {"OMP_NUM_THREADS": "64"}


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "exit status 0"),
        (3, "exit status 3"),
        (-11, "signal SIGSEGV"),
        (-9, "out of memory"),
        (-250, "signal 250"),
    ],
)
def test_an_end_is_described_for_people(status, text):
    assert text in describe_exit(status)
