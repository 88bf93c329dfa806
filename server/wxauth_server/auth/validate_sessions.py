"""Step 7 as it is answered: from memory, else from the store; for one SessionId or many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from wxauth_client.boot_clock import boot_time_s
from wxauth_client.lease import Fill
from wxauth_server.auth.remembered_answers import RememberedAnswers
from wxauth_server.auth.validate_session import LiveSession, SessionValidator
from wxauth_server.errors import SessionExpired, SessionInvalid, SessionRevoked
from wxauth_server.session_id import session_digest
from wxauth_server.store.interface import READ_AT_ONCE
from wxauth_server.store.sessions import SessionRecord

SessionDead: TypeAlias = SessionInvalid | SessionExpired | SessionRevoked


class _Judged(NamedTuple):
    """What becomes of those who asked about a session."""

    answer: bytes | SessionDead
    #: The answer is in memory now.
    kept: bool = False

    def joined(self) -> bool:
        """Whether it holds for those too who asked a moment later.

        Unless something has changed since: the session was ended, or has just begun.
        """
        return self.kept or isinstance(self.answer, SessionExpired | SessionRevoked)


class _Question:
    """A read of one session, for all that ask about it meanwhile."""

    def __init__(
        self, digest: bytes, app_id: str, read: asyncio.Future[SessionRecord | None], fill: Fill
    ) -> None:
        self.digest = digest
        self.app_id = app_id
        self.fill = fill
        self.read = read
        #: Once the session is read, and somebody has judged it for all.
        self.judged: _Judged | None = None


class Validations:
    """Answers validations with serialized messages. For one event loop.

    Without `remembered` the store is read each time.
    """

    def __init__(
        self,
        validator: SessionValidator,
        serialize: Callable[[LiveSession], bytes],
        remembered: RememberedAnswers | None,
    ) -> None:
        self._validator = validator
        self._serialize = serialize
        self._remembered = remembered
        self._questions: dict[tuple[bytes, str], _Question] = {}

    async def answer(self, session_id: str, app_id: str = "") -> bytes:
        """What `SessionValidator.validate` answers or raises, as a message."""
        digest = session_digest(session_id)
        if digest is None:
            raise SessionInvalid
        if self._remembered is None:
            record = await self._validator.reads.read(digest)
            return self._serialize(self._validator.judge(digest, record, app_id))
        message = self._remembered.recall(digest, app_id)
        return message or await self._ask(digest, app_id)

    async def answers(
        self, session_ids: Sequence[str], app_id: str = ""
    ) -> list[bytes | SessionDead]:
        """What `answer` answers or raises for each SessionId, in their order.

        Raises, for all of them: StoreUnavailable, Overloaded.
        """
        digests = [session_digest(one) for one in session_ids]
        known: dict[bytes | None, bytes | SessionDead] = {None: SessionInvalid()}
        if self._remembered is not None:
            for digest in digests:
                if digest is not None and (message := self._remembered.recall(digest, app_id)):
                    known[digest] = message
        missing = list({digest for digest in digests if digest is not None} - known.keys())
        # In parts, between which whoever else is waiting has a turn.
        for start in range(0, len(missing), READ_AT_ONCE):
            part = missing[start : start + READ_AT_ONCE]
            fill = Fill(boot_time_s())
            records = await self._validator.reads.read_part(part)
            for digest in part:
                known[digest] = self._judge(fill, digest, records.get(digest), app_id).answer
        return [known[digest] for digest in digests]

    async def _ask(self, digest: bytes, app_id: str) -> bytes:
        question = self._questions.get((digest, app_id))
        if question is not None and question.fill.may_be_joined(boot_time_s()):
            judged = await self._judged(question)
            if judged.joined():
                return _said(judged.answer)
        fill = Fill(boot_time_s())
        question = _Question(digest, app_id, self._validator.reads.read(digest), fill)
        self._questions[digest, app_id] = question
        question.read.add_done_callback(lambda _: self._end(question))
        return _said((await self._judged(question)).answer)

    async def _judged(self, question: _Question) -> _Judged:
        # Shielded: whoever gives up takes the answer from nobody else.
        record = await asyncio.shield(question.read)
        if question.judged is None:
            question.judged = self._judge(question.fill, question.digest, record, question.app_id)
        return question.judged

    def _end(self, question: _Question) -> None:
        """Nobody joins it any more; a failure is for those who wait."""
        if self._questions.get((question.digest, question.app_id)) is question:
            del self._questions[question.digest, question.app_id]
        question.read.exception()  # heard also if nobody waits any more

    def _judge(
        self, fill: Fill, digest: bytes, record: SessionRecord | None, app_id: str
    ) -> _Judged:
        try:
            live = self._validator.judge(digest, record, app_id)
        except (SessionInvalid, SessionExpired, SessionRevoked) as dead:
            # Else it keeps this frame, and the frame all of a batch.
            return _Judged(dead.with_traceback(None))
        message = self._serialize(live)
        kept = self._remembered is not None and self._remembered.keep(fill, live, message)
        return _Judged(message, kept)


def _said(answer: bytes | SessionDead) -> bytes:
    if isinstance(answer, bytes):
        return answer
    raise answer.with_traceback(None)
