from __future__ import annotations

import pytest

from vtsserving._bus.interface import check_pattern, check_subject
from vtsserving._wire import subjects

pytestmark = pytest.mark.fast

ID = "0123456789abcdef"


SUBJECTS = {
    subjects.batcher_in(ID): f"vts.v2.bat.{ID}.in",
    subjects.batcher_event(ID): f"vts.v2.bat.{ID}.event",
    subjects.gateway_reply(ID, 7): f"vts.v2.gw.{ID}.reply.7",
    subjects.gateway_replies(ID): f"vts.v2.gw.{ID}.reply.>",
    subjects.runner_batch(ID): f"vts.v2.run.{ID}.batch",
    subjects.runner_control(ID): f"vts.v2.run.{ID}.ctl",
    subjects.heartbeat("runner"): "vts.v2.hb.runner",
    subjects.STORE_CHANGED: "vts.v2.store.changed",
}


@pytest.mark.parametrize(("subject", "expected"), SUBJECTS.items())
def test_every_subject_is_what_the_table_says_and_the_bus_takes(subject: str, expected: str) -> None:
    assert subject == expected
    check_pattern(subject)
    if ">" not in subject:
        check_subject(subject)


def test_ids_are_fresh_and_of_16_hex_digits() -> None:
    ids = {subjects.new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(subjects.is_id(id) for id in ids)


@pytest.mark.parametrize(
    "id", ["", "0" * 15, "0" * 17, "0" * 15 + "G", "0" * 15 + "A", ID + "\n", "*", ">", "a.b"]
)
def test_what_is_no_id_never_becomes_part_of_a_subject(id: str) -> None:
    assert not subjects.is_id(id)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "$SYS.REQ.SERVER.PING",
        "infer.x",
        "vts.v2.store.changed",
        f"vts.v2.bat.{ID}.in",
        f"vts.v2.gw.{ID}.reply.>",
        f"vts.v2.gw.{ID}.reply.*",
        "vts.v2.gw.*.reply.1",
        f"vts.v2.gw.{ID}.reply.",
        f"vts.v2.gw.{ID}.reply.1.2",
        f"vts.v2.gw.{ID}.reply.1\n",
        f"vts.v2.gw.{ID}.reply.1 PUB",
        f"vts.v2.gw.{ID}.reply." + "1" * 21,
        f"xvts.v2.gw.{ID}.reply.1",
    ],
)
def test_nothing_is_answered_to_what_is_no_gateways_reply_subject(subject: str) -> None:
    assert not subjects.is_gateway_reply(subject)
    assert subjects.gateway_answers(subject) is None


def test_answers_go_to_one_subject_per_gateway() -> None:
    assert {subjects.gateway_answers(subjects.gateway_reply(ID, n)) for n in (0, 1, 1024)} == {
        subjects.gateway_reply(ID, 0)
    }
