"""What WeChat's answers say, before it matters which call they answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from wxauth_server.outbound.transport import Answer, Failure

Fields = Mapping[str, object]

# Documented as 28 characters that begin with "o", of this alphabet; the length is not promised.
WECHAT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Errcode:
    """WeChat refused, and says so in its own way."""

    number: int


@dataclass(frozen=True, slots=True)
class Nonsense:
    """An answer that is not the documented one. `what` is a text of ours, fit for a log."""

    what: str


#: Every way in which a call has no result.
NoResult = Errcode | Nonsense | Failure


def read_fields(answer: Answer | Failure) -> Fields | NoResult:
    """The JSON object of an answer without errcode or with errcode 0.

    Its Content-Type is not looked at: WeChat sends text/plain.
    """
    if isinstance(answer, Failure):
        return answer
    if answer.status != 200:
        return Nonsense(f"HTTP status {answer.status}")
    if answer.body is None:
        return Nonsense("too long")
    try:
        fields = json.loads(answer.body.decode("utf-8"))
    except (ValueError, RecursionError):
        return Nonsense("not JSON in UTF-8")
    if not isinstance(fields, dict):
        return Nonsense("not a JSON object")
    errcode = fields.get("errcode", 0)
    if type(errcode) is not int:
        return Nonsense("errcode is no number")
    return Errcode(errcode) if errcode != 0 else fields
