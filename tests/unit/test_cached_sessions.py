"""Answers from memory: what the store would have said, for fewer reads of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.validating import (
    ABSOLUTE_MS,
    APP,
    IDLE_MS,
    LOGIN_MS,
    MINUTE_MS,
    OTHER_APP,
    HeldStore,
    Validating,
    digest_of,
    play,
)
from wxauth.v1.auth_service_pb2 import (
    BatchValidateSessionsResponse,
    SessionRefusal,
    SessionValidation,
    ValidateSessionResponse,
)
from wxauth_server.errors import SessionExpired, SessionInvalid, SessionRevoked
from wxauth_server.rpc.live_sessions import serialize_batch
from wxauth_server.session_id import new_session_id

REUSE_MS = 5 * MINUTE_MS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HeldStore]:
    store = HeldStore(tmp_path / "data")
    yield store
    store.close()


def test_an_answer_is_read_once(store: HeldStore) -> None:
    """And is the same from memory; of another app the session is not."""

    async def scenario(validating: Validating) -> None:
        await validating.has_lease()
        session_id = await validating.session()
        read = await validating.answer(session_id)
        reads = len(store.reads)
        for app_id in ("", APP):
            assert await validating.answer(session_id, app_id) == read
        assert (read.app_id, read.openid, len(store.reads)) == (APP, "o1", reads)
        with pytest.raises(SessionInvalid):
            await validating.answer(session_id, OTHER_APP)

    play(store, scenario)


def test_nothing_is_kept_before_the_log_was_read(store: HeldStore) -> None:
    async def scenario(validating: Validating) -> None:
        session_id = await validating.session()
        for _ in range(3):
            assert await validating.reads_of(session_id) == 1
        store.let_go()
        await validating.has_lease()
        assert [await validating.reads_of(session_id) for _ in range(3)] == [1, 0, 0]

    store.log_goes.clear()
    play(store, scenario)


def test_a_no_is_read_each_time(store: HeldStore) -> None:
    """Whoever invents SessionIds fills no memory."""

    async def scenario(validating: Validating) -> None:
        await validating.has_lease()
        session_id = new_session_id()
        for reads in (1, 2):
            with pytest.raises(SessionInvalid):
                await validating.answer(session_id)
            assert len(store.reads) == reads

    play(store, scenario)


def test_many_at_a_time_are_one_read(store: HeldStore) -> None:
    """No stampede on the store, and whoever gives up takes the answer from nobody."""

    async def scenario(validating: Validating) -> None:
        await validating.has_lease()
        session_id = await validating.session()
        store.sessions_go.clear()
        first = asyncio.ensure_future(validating.answer(session_id))
        assert await asyncio.to_thread(store.begun.acquire, timeout=10)
        others = [asyncio.ensure_future(validating.answer(session_id)) for _ in range(200)]
        await asyncio.sleep(0)  # each of them has asked
        first.cancel()
        others.pop().cancel()
        store.let_go()
        answers = await asyncio.gather(*others)
        assert len({answer.session_handle for answer in answers}) == 1
        assert store.reads == [[digest_of(session_id)]]

    play(store, scenario)


def test_a_use_moves_the_idle_limit(store: HeldStore) -> None:
    """As it does when the store is read each time, and that is no write in the way."""

    async def scenario(validating: Validating) -> None:
        session_id = await validating.remembered()
        clock = validating.clock
        clock.ms += REUSE_MS - 1
        assert await validating.reads_of(session_id) == 0
        clock.ms += 1
        seen_ms = clock.ms
        assert await validating.reads_of(session_id) == 1
        # What will be written is known at once.
        moved = await validating.answer(session_id)
        assert moved.idle_expire_time.ToMilliseconds() == seen_ms + IDLE_MS
        assert await validating.reads_of(session_id) == 0
        await validating.last_seen.flush()
        [(last_seen_at,)] = store.read(lambda tx: tx.execute("SELECT last_seen_at FROM sessions"))
        assert last_seen_at == seen_ms
        # Used every now and then it lives on, until the absolute limit.
        while clock.ms < LOGIN_MS + 3 * IDLE_MS:
            clock.ms += IDLE_MS // 2
            await validating.answer(session_id)
            await validating.last_seen.flush()
        clock.ms += IDLE_MS
        with pytest.raises(SessionExpired):
            await validating.answer(session_id)

    play(store, scenario)


def test_near_its_end_a_session_is_read_each_time(store: HeldStore) -> None:
    """How long the answer may be reused is then another each time."""

    async def scenario(validating: Validating) -> None:
        session_id = await validating.remembered()
        clock = validating.clock
        while clock.ms < LOGIN_MS + ABSOLUTE_MS - IDLE_MS // 2:
            clock.ms += IDLE_MS // 2
            await validating.answer(session_id)
            await validating.last_seen.flush()
        for left_ms in (REUSE_MS, REUSE_MS - 1, 1):
            clock.ms = LOGIN_MS + ABSOLUTE_MS - left_ms
            assert await validating.reads_of(session_id) == 1
            answer = await validating.answer(session_id)
            assert answer.reuse_for.ToMilliseconds() == left_ms
        clock.ms += 1
        with pytest.raises(SessionExpired):
            await validating.answer(session_id)

    play(store, scenario)


def test_the_store_alone_says_expired(store: HeldStore) -> None:
    """What has expired for the memory of this process was used elsewhere."""

    async def scenario(validating: Validating) -> None:
        session_id, unused = [await validating.remembered() for _ in range(2)]
        validating.clock.ms += IDLE_MS
        seen_ms = validating.clock.ms - 1
        await asyncio.to_thread(
            validating.other.write,
            lambda tx: tx.execute(
                "UPDATE sessions SET last_seen_at = :seen WHERE digest = :digest",
                {"seen": seen_ms, "digest": digest_of(session_id)},
            ),
        )
        answer = await validating.answer(session_id)
        assert answer.idle_expire_time.ToMilliseconds() == seen_ms + IDLE_MS
        with pytest.raises(SessionExpired):
            await validating.answer(unused)

    play(store, scenario)


def test_a_batch_is_answered_as_one_by_one(store: HeldStore) -> None:
    """Of those in memory, those that are not, and the dead; each read once."""

    async def scenario(validating: Validating) -> None:
        kept = [await validating.remembered() for _ in range(3)]
        new = [await validating.session() for _ in range(2)]
        ended = await validating.remembered()
        await validating.end(ended)
        asked = [kept[0], "nonsense", new[0], ended, *kept, new[1], new[0], new_session_id()]
        store.reads.clear()
        answers = await validating.validations.answers(asked, APP)
        assert [len(read) for read in store.reads] == [4]
        for session_id, answer in zip(asked, answers, strict=True):
            if isinstance(answer, bytes):
                assert answer == await validating.validations.answer(session_id, APP)
            else:
                with pytest.raises(type(answer)):
                    await validating.validations.answer(session_id, APP)
        refused = [type(answer) for answer in answers if not isinstance(answer, bytes)]
        assert refused == [SessionInvalid, SessionRevoked, SessionInvalid]
        store.reads.clear()
        await validating.validations.answers([*kept, *new])
        assert store.reads == []

    play(store, scenario)


def test_the_message_of_a_batch_is_what_protobuf_makes_of_it() -> None:
    """Also where a length takes one byte more."""
    lengths = [0, 1, *range(110, 140), *range(16_370, 16_400)]
    sessions = [ValidateSessionResponse(openid="x" * length) for length in lengths]
    entries = [SessionValidation(session=session) for session in sessions]
    refusal = SessionRefusal(reason=SessionRevoked("LOGOUT").reason, metadata={"cause": "LOGOUT"})
    entries.insert(5, SessionValidation(refusal=refusal))
    answers: list[bytes | SessionRevoked] = [each.SerializeToString() for each in sessions]
    answers.insert(5, SessionRevoked("LOGOUT"))
    expected = BatchValidateSessionsResponse(results=entries)
    assert serialize_batch(answers) == expected.SerializeToString()
