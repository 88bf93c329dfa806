"""checkSessionKey and resetUserSessionKey. No HTTP here."""

from __future__ import annotations

import hashlib
import hmac

from wechat_sandbox.access_tokens import AccessTokens
from wechat_sandbox.answers import Outcome, ok_body
from wechat_sandbox.question import Question
from wechat_sandbox.world import Person, World

CHECK_PATH = "/wxa/checksession"
RESET_PATH = "/wxa/resetusersessionkey"


def signature_of(session_key: str, message: bytes = b"") -> str:
    """How a server proves that it has a session_key: its base64 *text* is the HMAC's key."""
    return hmac.new(session_key.encode("ascii"), message, hashlib.sha256).hexdigest()


class CheckSessionKey:
    """`GET /wxa/checksession`."""

    def __init__(self, world: World, tokens: AccessTokens) -> None:
        self._world = world
        self._tokens = tokens

    def answer(self, question: Question) -> Outcome:
        refusal, person = _prove(self._world, self._tokens, question)
        if refusal is not None or person is None:
            return refusal or Outcome(87009)
        return Outcome(0, person.app_id, person.user, ok_body())


class ResetSessionKey:
    """`GET /wxa/resetusersessionkey`: the old key dies, the new one ends when it would have."""

    def __init__(self, world: World, tokens: AccessTokens) -> None:
        self._world = world
        self._tokens = tokens

    def answer(self, question: Question) -> Outcome:
        refusal, person = _prove(self._world, self._tokens, question)
        if refusal is not None or person is None:
            return refusal or Outcome(87009)
        key = self._world.reset_session_key(person)
        body = ok_body(openid=question.query["openid"], session_key=key)
        return Outcome(0, person.app_id, person.user, body)


def _prove(
    world: World, tokens: AccessTokens, question: Question
) -> tuple[Outcome | None, Person | None]:
    """The refusal, or the person whose live session_key made the signature."""
    query = question.query
    errcode, app_id = tokens.check(query.get("access_token", ""), question.now)
    if errcode:
        return Outcome(errcode, app_id), None
    person = world.person(query.get("openid", ""))
    if person is None or person.app_id != app_id:
        return Outcome(40003, app_id), None
    if query.get("sig_method") != "hmac_sha256":
        return Outcome(87008, app_id, person.user), None
    given = query.get("signature", "").encode("utf-8", "replace")
    right = signature_of(person.session_key).encode("ascii")
    if question.now >= person.key_ends_at or not hmac.compare_digest(given, right):
        return Outcome(87009, app_id, person.user), None
    return None, person
