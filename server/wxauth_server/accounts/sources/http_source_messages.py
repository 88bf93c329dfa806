"""What wxauth and the company's service say to each other: how a request is signed, and a
strict reading of the answers. No I/O here; docs/http-account-source.md is the same for people.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from wxauth_server.accounts.account_fields import (
    MAX_DISPLAY_NAME_BYTES,
    AccountRefused,
    check_id,
    check_text,
)
from wxauth_server.accounts.sources.source import SourceAccount
from wxauth_server.accounts.usernames import MAX_USERNAME_BYTES
from wxauth_server.outbound.transport import Answer

# The bounds of a wait that the service asks for, in seconds: a client should not come back at
# once, nor stay away for long because of a header that somebody mistyped.
MIN_RETRY_S, MAX_RETRY_S = 1, 60

_DELAY = re.compile(r"[0-9]{1,9}")


class Fault(enum.StrEnum):
    """What is wrong with an answer, or with getting one; `kind` of the alarm in the log."""

    CANNOT_CONNECT = "cannot_connect"
    TIMED_OUT = "timed_out"
    TLS = "tls"
    NO_ANSWER = "no_answer"
    CIRCUIT_OPEN = "circuit_open"
    KEY_REFUSED = "key_refused"
    REDIRECT = "redirect"
    STATUS = "status"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    WRONG_SHAPE = "wrong_shape"
    NO_ID = "no_id"
    BAD_ID = "bad_id"
    OTHER_ID = "other_id"


@dataclass(frozen=True, slots=True)
class Faulty:
    """An answer that is none. `detail` is a text of ours, fit for a log."""

    fault: Fault
    detail: str
    #: Seconds after which to ask again.
    retry_after_s: float = 1.0


def signed_headers(
    key: bytes, *, timestamp_s: int, request_id: str, path: str, body: bytes
) -> dict[str, str]:
    """The headers that prove a POST of `body` to `path` to be ours, made at `timestamp_s`.

    What is signed is six parts with a line feed between them: v1, the timestamp,
    the request id, POST, the path, the body. Only the last may hold a line feed.
    """
    head = f"v1\n{timestamp_s}\n{request_id}\nPOST\n{path}\n"
    signature = hmac.new(key, head.encode("ascii") + body, hashlib.sha256).hexdigest()
    return {
        "Wxauth-Request-Id": request_id,
        "Wxauth-Signature": f"t={timestamp_s},v1={signature}",
    }


def read_account(answer: Answer, *, asked_id: str | None = None) -> SourceAccount | Faulty | None:
    """The account of an answer to `verify` or `get`; None if it says that there is none.

    `asked_id` is the id that the account must have. Names that cannot be shown
    are left out: no reason to turn their owner away.
    """
    if answer.status != 200:
        return _refusal(answer)
    read = _read_json(answer)
    if isinstance(read, Faulty):
        return read
    if not isinstance(read, dict) or "account" not in read:
        return Faulty(Fault.WRONG_SHAPE, 'no JSON object with "account"')
    fields = read["account"]
    if fields is None:
        return None
    if not isinstance(fields, dict):
        return Faulty(Fault.WRONG_SHAPE, "account is neither an object nor null")
    account = _read_fields(fields)
    if isinstance(account, SourceAccount) and asked_id not in (None, account.id):
        return Faulty(Fault.OTHER_ID, "an account with another id than the one asked for")
    return account


def read_told(answer: Answer) -> Faulty | None:
    """None if the service knows now that the user has left, or does not want to."""
    if answer.status in (404, 410):
        return None
    if not 200 <= answer.status < 300:
        return _refusal(answer)
    read = None if answer.body == b"" else _read_json(answer)
    return read if isinstance(read, Faulty) else None


def _refusal(answer: Answer) -> Faulty:
    detail = f"HTTP status {answer.status}"
    if answer.status in (401, 403):
        return Faulty(Fault.KEY_REFUSED, detail)
    if 300 <= answer.status < 400:
        return Faulty(Fault.REDIRECT, detail)
    if answer.status in (429, 503) and _DELAY.fullmatch(answer.retry_after):
        wait_s = min(max(int(answer.retry_after), MIN_RETRY_S), MAX_RETRY_S)
        return Faulty(Fault.STATUS, detail, retry_after_s=wait_s)
    return Faulty(Fault.STATUS, detail)


class _NotJson(ValueError):
    """JSON that RFC 8259 leaves to chance, or that it does not know."""


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _NotJson
    return fields


def _constant(_: str) -> None:
    raise _NotJson


def _read_json(answer: Answer) -> object:
    if answer.body is None:
        return Faulty(Fault.TOO_LARGE, "more than 64 KiB")
    try:
        read: object = json.loads(
            answer.body.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_constant
        )
    except _NotJson:
        return Faulty(Fault.NOT_JSON, "a key that is there twice, NaN or Infinity")
    except (ValueError, RecursionError):
        return Faulty(Fault.NOT_JSON, "not JSON in UTF-8")
    return read


def _read_fields(fields: Mapping[str, object]) -> SourceAccount | Faulty:
    account_id = fields.get("id")
    if account_id is None or account_id == "":
        return Faulty(Fault.NO_ID, "an account without an id")
    if type(account_id) is int:  # and no bool, which is an int too
        account_id = str(account_id)
    if not isinstance(account_id, str):
        return Faulty(Fault.BAD_ID, "the id is neither text nor a whole number")
    try:
        check_id(account_id)
    except AccountRefused as refused:
        return Faulty(Fault.BAD_ID, str(refused))
    disabled = fields.get("disabled")
    if not isinstance(disabled, bool):
        return Faulty(Fault.WRONG_SHAPE, "disabled is neither true nor false")
    names = fields.get("username"), fields.get("display_name")
    if not all(name is None or isinstance(name, str) for name in names):
        return Faulty(Fault.WRONG_SHAPE, "username or display_name is neither text nor null")
    username, display_name = names
    return SourceAccount(
        id=account_id,
        username=fit_username(username),
        display_name=_fit("display name", display_name, MAX_DISPLAY_NAME_BYTES),
        enabled=not disabled,
    )


def fit_username(username: object) -> str | None:
    """The username if it is a text that can be shown, else None."""
    return _fit("username", username, MAX_USERNAME_BYTES)


def _fit(what: str, text: object, most_bytes: int) -> str | None:
    if not isinstance(text, str):
        return None
    try:
        check_text(what, text, most_bytes)
    except AccountRefused:
        return None
    return text
