"""The checker: a model that was written is loaded elsewhere and compared, and whatever it does, a save ends in time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from support.waiting import eventually
from vtsserving._saving import checker, trial
from vtsserving._saving.input_example import WarmupCall
from vtsserving.exceptions import (
    BadModelOutput,
    InvalidArgument,
    ModelCrashed,
    ModelFailed,
    ModelLoadFailed,
    ModelTimeout,
    SerializationError,
)

ROWS = np.arange(6.0).reshape(3, 2)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


@pytest.fixture
def fresh() -> Iterator[None]:
    """A checker of the test's own."""
    checker.stop()
    yield
    checker.stop()


def save(model: Any, **details: Any) -> vtsserving.Model:
    return vtsserving.picklable_model.save_model("checked", model, **details)


def checked(model: vtsserving.Model) -> Any:
    return model.info.extra["check"]


def pid() -> int:
    """The checker's process id."""
    assert checker._checker is not None
    return checker._checker._process.pid


def forgetful() -> Any:
    """An object that loses an attribute when it is pickled; its class, being local, travels with it."""

    class Forgetful:
        def __init__(self) -> None:
            self.offset = 1.0

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def __call__(self, rows: Any) -> Any:
            return rows + getattr(self, "offset", 0.0)

    return Forgetful()


# --- what is compared ------------------------------------------------------------------------------------------------


def test_equal_answers_are_recorded() -> None:
    class Model:
        def double(self, rows: Any) -> Any:
            return rows * 2

        def name(self, rows: Any) -> str:
            return "doubler"

    saved = save(Model(), signatures={"double": {}, "name": {}}, input_example=ROWS)
    assert checked(saved) == {"result": "equal", "methods": ["double", "name"]}
    assert saved.info.output_specs["double"]["shape"] == [-1, 2]


def test_without_an_example_it_is_loaded() -> None:
    assert checked(save(lambda rows: rows)) == {"result": "loaded"}


def test_a_model_that_loses_something_is_refused_with_both_answers_and_the_way_out() -> None:
    with pytest.raises(SerializationError, match=r"'__call__'.*6 of 6 numbers.*check=False"):
        save(forgetful(), input_example=ROWS)
    assert vtsserving.models.list() == []
    assert checked(save(forgetful(), input_example=ROWS, check=False))["result"] == "skipped"


def test_a_model_that_cannot_answer_any_more_is_refused() -> None:
    class Model:
        def __init__(self) -> None:
            self.offset = 1.0

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def __call__(self, rows: Any) -> Any:
            return rows + self.offset

    with pytest.raises(SerializationError, match=r"raises AttributeError: .*offset.*check=False"):
        save(Model(), input_example=ROWS)


def test_what_differs_between_two_calls_is_not_compared() -> None:
    class Model:
        def __call__(self, rows: Any) -> Any:
            return {"rows": rows, "token": os.urandom(8)}

    assert checked(save(Model(), input_example=ROWS))["result"] == "equal"


def test_what_is_the_same_twice_by_chance_is_asked_for_again() -> None:
    def model(rows: Any) -> int:
        return int.from_bytes(os.urandom(1), "little") % 2

    for _ in range(8):
        assert checked(save(model, input_example=ROWS))["result"] == "equal"


def test_the_object_the_example_and_its_arrays_stay_as_they_are() -> None:
    class Model:
        def __init__(self) -> None:
            self.calls, self.seen, self.weights = 0, [], np.ones(2)

        def __call__(self, rows: Any) -> Any:
            self.calls += 1
            self.seen.append(len(rows))
            self.weights += 1
            rows *= 0
            return rows

    model, example = Model(), ROWS.copy()
    save(model, input_example=example)
    assert (model.calls, model.seen, model.weights.tolist()) == (0, [], [1, 1])
    assert np.array_equal(example, ROWS)


# --- what could never be answered ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["object", "open file", "function"])
def test_a_result_that_has_no_form_is_refused_or_warned_of(kind: str) -> None:
    def model(rows: Any) -> Any:
        import io

        made = {"object": object(), "open file": io.BytesIO(), "function": len}
        return {"inside": [made[kind]]}

    with pytest.raises(BadModelOutput, match=r"could never be answered.*check=False"):
        save(model, input_example=ROWS)
    assert vtsserving.models.list() == []
    with pytest.warns(UserWarning, match="could never be answered"):
        save(model, input_example=ROWS, check=False)


def test_an_example_that_the_object_refuses_is_an_error_of_its_own() -> None:
    for check in (None, False):
        with pytest.raises(InvalidArgument, match="refuses the input example: ZeroDivisionError"):
            save(lambda rows: 1 / 0, input_example=ROWS, check=check)


def test_check_is_true_false_or_none() -> None:
    with pytest.raises(InvalidArgument, match="check is True, False or None"):
        save(len, check="yes")


# --- as in a model process -------------------------------------------------------------------------------------------


SCRIPT = """
import os, sys, vtsserving
print("started", os.getpid(), file=sys.stderr)
sys.path.insert(0, {folder!r})
import mine

class Local:
    def __call__(self, rows):
        return mine.triple(rows) + 1

saved = vtsserving.picklable_model.save_model("script", Local(), input_example=[1, 2], external_modules=[mine])
assert saved.info.extra["check"]["result"] == "equal", saved.info.extra
try:
    vtsserving.picklable_model.save_model("plain", mine.triple)
except vtsserving.exceptions.ModelLoadFailed as error:
    print(error)
"""


@pytest.mark.slow
def test_a_script_without_a_guard_runs_once_and_its_modules_are_named_where_they_are_missing(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "mine.py").write_text("import numpy\ndef triple(rows):\n    return numpy.asarray(rows) * 3\n")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(folder=str(folder)))
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stderr.count("started") == 1
    assert "No module named 'mine'" in ran.stdout
    assert "external_modules=[...]" in ran.stdout


def test_credentials_are_not_there_and_the_home_is_that_of_the_save(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_STORE_TOKEN", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    class Model:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def __setstate__(self, state: dict[str, Any]) -> None:
            import os

            self.seen = sorted(os.environ)
            self.home = os.environ["VTSSERVING_HOME"]

        def __call__(self, rows: Any) -> Any:
            return os.urandom(1)

        def environment(self, rows: Any) -> Any:
            return [self.seen, self.home]

    saved = save(Model(), signatures={"__call__": {}})
    (answer,) = checker.answers(saved.path, [WarmupCall("environment", (ROWS,))], 30.0)
    names, home = answer
    assert not {"VTSSERVING_STORE_TOKEN", "AWS_SECRET_ACCESS_KEY"} & set(names)
    assert "PATH" in names
    assert home == os.environ["VTSSERVING_HOME"]


def test_models_do_not_meet_what_earlier_ones_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for version in (1, 2):
        (tmp_path / "changing.py").write_text(f"def answer(rows):\n    return {version}\n")
        sys.modules.pop("changing", None)
        import changing  # type: ignore[import-not-found]

        assert checked(save(changing.answer, input_example=ROWS))["result"] == "equal"
    sys.modules.pop("changing", None)


def test_a_module_that_saves_when_it_is_imported_does_not_go_round_in_circles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "saving.py").write_text(
        "import warnings, vtsserving\n"
        "def answer(rows):\n    return 1\n"
        "with warnings.catch_warnings():\n"
        "    warnings.simplefilter('ignore')\n"
        "    vtsserving.picklable_model.save_model('inner', len)\n"
    )
    import saving  # type: ignore[import-not-found]

    assert checked(save(saving.answer, input_example=ROWS))["result"] == "equal"
    sys.modules.pop("saving", None)


# --- one for the process --------------------------------------------------------------------------------------------


def test_saves_of_several_threads_share_one_checker(fresh: None) -> None:
    def one(number: int) -> Any:
        saved = vtsserving.picklable_model.save_model(
            f"n{number}", lambda rows: rows + number, input_example=ROWS
        )
        return checked(saved)["result"], pid()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(one, range(8)))
    assert {result for result, _ in found} == {"equal"}
    assert len({process for _, process in found}) == 1


def test_a_checker_that_was_killed_is_replaced(fresh: None) -> None:
    save(len)
    first = pid()
    os.kill(first, signal.SIGKILL)
    assert checked(save(len))["result"] == "loaded"
    assert pid() != first


def test_it_ends_when_it_is_not_needed(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "IDLE_S", 0.5)
    save(len)
    running = checker._checker
    assert running is not None
    asyncio.run(eventually(lambda: not running.is_alive()))
    assert checked(save(len))["result"] == "loaded"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["end", "kill"])
def test_it_ends_with_the_process_that_saves(how: str) -> None:
    code = (
        "import vtsserving, sys\n"
        "from vtsserving._saving import checker\n"
        "vtsserving.picklable_model.save_model('one', len)\n"
        "print(checker._checker._process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        os.kill(number, 0)
        process.kill() if how == "kill" else process.communicate("")
    asyncio.run(eventually(lambda: not Path(f"/proc/{number}").exists()))


@pytest.mark.slow
def test_a_fork_of_the_process_has_a_checker_of_its_own(fresh: None) -> None:
    save(len)
    first = pid()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            saved = save(len)
            status = 0 if checked(saved)["result"] == "loaded" and pid() != first else 2
            checker.stop()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert checked(save(len))["result"] == "loaded"
    assert pid() == first


def test_a_change_of_the_environment_counts(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    save(len)
    first = pid()
    monkeypatch.setenv("MALLOC_ARENA_MAX", "3")
    save(len)
    assert pid() != first


def test_the_working_folder_and_the_home_are_those_of_each_save(
    fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(len)
    first = pid()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / name))
        folder = str(tmp_path / name)

        def model(rows: Any) -> Any:
            import os
            import sys

            return [os.getcwd(), os.environ["VTSSERVING_HOME"], sys.path[0]]

        saved = save(model)
        assert checker.answers(saved.path, [WarmupCall("__call__", (1,))], 30.0) == [[folder] * 3]
    assert pid() == first


# --- whatever a model does -------------------------------------------------------------------------------------------


def crash(rows: Any) -> Any:
    import ctypes

    if os.environ.get("PARENT_OF_THE_CHECKER"):
        return rows
    return ctypes.string_at(0)


def hang(rows: Any) -> Any:
    if os.environ.get("PARENT_OF_THE_CHECKER"):
        return rows
    return threading.Event().wait()


def be_killed(rows: Any) -> Any:
    if not os.environ.get("PARENT_OF_THE_CHECKER"):
        os.kill(os.getpid(), signal.SIGKILL)
    return rows


def leave(rows: Any) -> Any:
    if not os.environ.get("PARENT_OF_THE_CHECKER"):
        os._exit(3)
    return rows


# By value, as what a script or a notebook defines is pickled: the checker does not have the tests.
for function in (crash, hang, be_killed, leave):
    function.__module__ = "__main__"


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process, and not the checker, has a variable: models behave here and misbehave there."""
    monkeypatch.setenv("PARENT_OF_THE_CHECKER", "1")


@pytest.mark.parametrize(
    ("model", "how"), [(crash, "signal SIGSEGV"), (leave, "exit status 3")], ids=["crash", "exit"]
)
def test_a_model_that_ends_its_process_is_refused(marked: None, model: Any, how: str) -> None:
    with pytest.raises(ModelCrashed, match=rf"{how}.*answered __call__; check=False"):
        save(model, input_example=ROWS)
    assert checked(save(len))["result"] == "loaded"


def test_a_model_that_hangs_is_saved_unchecked_after_the_limit(
    marked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "LIMIT_S", 1.0)
    monkeypatch.setattr(trial, "CHOSEN_LIMIT_S", 1.0)
    with pytest.warns(
        UserWarning, match=r"not checked.*more than 1 s until the saved model answered __call__"
    ):
        saved = save(hang, input_example=ROWS)
    assert checked(saved)["result"] == "skipped"
    assert "more than 1 s" in checked(saved)["reason"]
    with pytest.raises(ModelTimeout, match="more than 1 s"):
        save(hang, input_example=ROWS, check=True)
    before = pid()
    assert checked(save(len))["result"] == "loaded"
    assert pid() == before


def test_a_check_that_was_killed_from_outside_says_nothing_about_the_model(marked: None) -> None:
    with pytest.warns(UserWarning, match=r"not checked.*signal SIGKILL"):
        assert checked(save(be_killed, input_example=ROWS))["result"] == "skipped"
    with pytest.raises(ModelLoadFailed, match="cannot be checked"):
        save(be_killed, input_example=ROWS, check=True)


def test_a_large_model_is_not_checked_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MAX_BYTES", 10)
    with pytest.warns(UserWarning, match="not checked.*GiB; check=True"):
        assert checked(save(len))["result"] == "skipped"
    assert checked(save(len, check=True))["result"] == "loaded"


def test_without_a_way_to_start_a_process_the_record_says_so(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.warns(UserWarning, match="not checked.*cannot be started: No such file"):
        assert checked(save(len))["result"] == "skipped"
    with pytest.raises(ModelLoadFailed, match="cannot be checked"):
        save(len, check=True)


def test_calls_of_a_copy_are_answered_or_say_why_not() -> None:
    class Model:
        def add(self, one: Any, other: Any) -> Any:
            return one + other

        def divide(self, rows: Any) -> Any:
            return 1 / 0

        def nothing_to_send(self, rows: Any) -> Any:
            return object()

    saved = save(Model(), signatures={"add": {}}, check=False)
    calls = [WarmupCall("add", (1, 2)), WarmupCall("divide", (1,)), WarmupCall("nothing_to_send", (1,))]
    three, failed, formless = checker.answers(saved.path, [*calls, WarmupCall("add", (ROWS, ROWS))][:3], 30.0)
    assert three == 3
    assert isinstance(failed, ModelFailed)
    assert "ZeroDivisionError" in failed.message
    assert isinstance(formless, BadModelOutput)
    with checker.copy_of(saved.path, 30.0) as copy:
        assert np.array_equal(copy.call("add", [ROWS], {"other": ROWS}), ROWS * 2)
        assert copy.call("add", ["a", "b"]) == "ab"


@pytest.mark.alone
def test_a_second_small_save_costs_at_most_a_fifth_of_a_second_more() -> None:
    import time

    def took_s(**details: Any) -> float:
        times = []
        for _ in range(5):
            began = time.perf_counter()
            save(len, **details)
            times.append(time.perf_counter() - began)
        return min(times)

    took_s()
    assert took_s() - took_s(check=False) < 0.2
