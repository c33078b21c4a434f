"""Sessions found again by the messages that they hold."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from reet_hf import ReetError
from reet_hf.integrations.conversations import KnownConversations


def talk(count: int, about: str = "visa") -> list[dict[str, Any]]:
    roles = ["user", "assistant"]
    return [
        {"role": roles[n % 2], "content": f"the {about} {n} expires in june. the order is {n}."} for n in range(count)
    ]


@pytest.fixture
def known(compress) -> KnownConversations:
    return KnownConversations(compress)


def test_a_conversation_goes_on_in_its_session_and_only_what_is_new_is_appended(known, monkeypatch):
    appended: list[int] = []
    with known.session("a", talk(3)) as session:
        first, append = session, session.append
        monkeypatch.setattr(session, "append", lambda messages: (appended.append(len(messages)), append(messages)))
    for count in (3, 5, 8):
        with known.session("a", talk(count)) as session:
            assert session is first and session.restore() == talk(count)
    assert appended == [0, 2, 3] and len(known) == 1


def test_other_history_and_other_keys_get_a_session_of_their_own(known):
    edited = [*talk(2), {"role": "user", "content": "no, the visa 7."}, *talk(4)[3:]]
    shorter = talk(2)
    reordered = [dict(reversed(message.items())) for message in talk(4)]
    with known.session("a", talk(4)) as first:
        pass
    for key, messages in (("a", edited), ("a", shorter), ("b", talk(4)), (None, talk(4)), ("a", talk(4, "order"))):
        with known.session(key, messages) as session:
            assert session is not first and session.restore() == messages
    with known.session("a", reordered) as session:
        assert session is first  # the order of a message's fields says nothing
    assert len(known) == 6


def test_of_conversations_that_part_the_first_to_go_on_keeps_the_session(known):
    with known.session(None, talk(2)) as first:
        pass
    with known.session(None, [*talk(2), {"role": "user", "content": "in june?"}]) as left:
        assert left is first
    with known.session(None, [*talk(2), {"role": "user", "content": "in may?"}]) as right:
        assert right is not first and right.message_count == 3


def test_the_least_recently_used_sessions_are_given_up(compress):
    known = KnownConversations(compress, most=2)
    for about in ("visa", "order", "visa", "june"):
        with known.session(None, talk(2, about)):
            pass
    sessions = {}
    for about in ("visa", "june"):
        with known.session(None, talk(2, about)) as sessions[about]:
            assert len(known) == 2
    known = KnownConversations(compress, most_tokens=1)
    for about in ("visa", "order"):
        with known.session(None, talk(2, about)) as last:
            pass
    assert len(known) == 1
    with known.session(None, talk(3, "order")) as session:
        assert session is last


def test_what_is_in_use_is_not_given_up(compress):
    known = KnownConversations(compress, most=1)
    with known.session(None, talk(2)) as first:
        with known.session(None, talk(2, "order")):
            pass
        assert len(known) == 2
    with known.session(None, talk(3)) as again:
        assert again is first
    assert len(known) == 1


def test_one_thread_at_a_time_uses_a_session_and_others_wait_for_it(known):
    inside, most, sessions = [0], [0], set()
    lock = threading.Lock()

    def use(count: int) -> None:
        with known.session("a", talk(count)) as session:
            assert session.restore() == talk(count)
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                sessions.add(session)
            session.compress(budget=0.5)
            assert session.restore() == talk(count)
            with lock:
                inside[0] -= 1

    with known.session("a", talk(2)):
        pass
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, [4] * 8))
    assert most == [1] and len(sessions) == 1 and len(known) == 1
    with ThreadPoolExecutor(4) as pool:  # in whatever order they come, each finds exactly its messages
        list(pool.map(use, [5, 9, 6, 4, 8, 5, 7, 9] * 2))


def test_several_conversations_at_a_time(compress):
    known = KnownConversations(compress, most=3)  # so that some are given up while others wait

    def grow(name: str) -> list[Any]:
        shown = []
        for count in range(1, 6):
            with known.session(name, talk(count, name)) as session:
                assert session.restore() == talk(count, name)
                shown.append(session.compress(budget=0.5)["text"])
        return shown

    names = ["visa", "order", "june", "rome", "oslo"]
    with ThreadPoolExecutor(5) as pool:
        together = list(pool.map(grow, names))
    assert together == [grow(f"{name}") for name in names]
    assert len(known) <= 3


def test_after_an_error_nothing_wrong_is_found_again(known, monkeypatch):
    with (
        pytest.raises(ReetError, match=r"`messages\[1\]\['role'\]`"),
        known.session(None, [*talk(1), {"role": "poet"}]),
    ):
        pass
    assert len(known) == 0
    with known.session(None, talk(2)) as first:
        monkeypatch.setattr(first, "append", broken)
    with pytest.raises(OSError, match="full"), known.session(None, talk(4)):
        pass
    assert len(known) == 0
    with known.session(None, talk(4)) as session:
        assert session is not first and session.restore() == talk(4)
    with pytest.raises(ReetError, match="budget"), known.session(None, talk(5)) as session:
        session.compress(budget=0)
    with known.session(None, talk(6)) as again:
        assert again is session  # an option that cannot be honoured changes nothing
    with pytest.raises(KeyboardInterrupt), known.session(None, talk(6)):
        raise KeyboardInterrupt
    assert len(known) == 0


def broken(messages: Any) -> None:
    raise OSError("full")


def test_bad_arguments_are_named(compress):
    with pytest.raises(ReetError, match="`most` must be an integer of at least 1, got 0"):
        KnownConversations(compress, most=0)
    with pytest.raises(ReetError, match="`most_tokens` must be an integer of at least 1, got 1.5"):
        KnownConversations(compress, most_tokens=1.5)
    with (
        pytest.raises(ReetError, match="`key` must be a string or None, got 7"),
        KnownConversations(compress).session(7, []),
    ):
        pass
    with pytest.raises(ReetError, match="`messages` must be a list"), KnownConversations(compress).session(None, "hi"):
        pass
