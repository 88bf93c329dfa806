"""One call as data: what is sent, how the answer is read, what counts as success.

The core that the sync and the asyncio client share; account_calls.py,
session_calls.py and wechat_calls.py make the calls. No I/O in here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from google.protobuf.message import Message

from wxauth_client import retrying
from wxauth_client.errors import RequestInvalid, Violation, WxauthError
from wxauth_client.retrying import RetryPolicy

READY_TIMEOUT_S = 1.0

NOTHING_SENT = "No turn came in time; nothing was sent."

#: The server's limit of a message, reliability.md section 3.
MAX_REQUEST_BYTES = 65_536

RequestT = TypeVar("RequestT", bound=Message)
AnswerT = TypeVar("AnswerT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Call(Generic[RequestT, AnswerT, ResultT]):
    """One call to make. Its repr hides the request, which holds secrets."""

    request: RequestT
    timeout_s: float
    read: Callable[[AnswerT], ResultT]
    # Gives the result of a call whose failure means that it was done before;
    # raises every other failure.
    settle: Callable[[WxauthError], ResultT]
    retries: RetryPolicy = retrying.ONCE

    def __repr__(self) -> str:
        return f"<Call {type(self.request).__name__}>"


def raise_failure(error: WxauthError) -> NoReturn:
    raise error


def or_default(timeout_s: float | None, default_s: float) -> float:
    return default_s if timeout_s is None else timeout_s


def encodable(request: Callable[[], RequestT]) -> RequestT:
    """Text that UTF-8 cannot hold (a lone surrogate) is a bad request, not a crash.

    So is what the server would not even read: gRPC refuses it in a way of its own.
    """
    try:
        built = request()
        if built.ByteSize() <= MAX_REQUEST_BYTES:
            return built
        too_large = RequestInvalid("The request is not valid.")
        too_large.violations = (Violation("", f"over {MAX_REQUEST_BYTES} bytes in all"),)
        raise too_large
    except UnicodeEncodeError:
        error = RequestInvalid("The request is not valid.")
        error.violations = (Violation("", "a text is not valid Unicode"),)
        # Not chained: the cause quotes the text, which may be a password.
        raise error from None
