"""Many SessionIds at a time: the calls to make for them, and where each result belongs.

No I/O in here: the sync and the asyncio client make the calls.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from wxauth.v1 import auth_service_pb2 as pb
from wxauth_client.call import Call, encodable, or_default, raise_failure
from wxauth_client.errors import SessionInvalid, WxauthError
from wxauth_client.reading_validations import read_validations
from wxauth_client.values import Session

# Default deadline of all its calls together.
VALIDATE_SESSIONS_TIMEOUT_S = 1.0

# The server's limits of one call: SessionIds, and bytes (call.MAX_REQUEST_BYTES)
# without those of the AppId. 1000 SessionIds as the server makes them have 55,000.
MAX_SESSION_IDS = 1_000
_MAX_BYTES = 65_000
# A text field costs so much more than its text, up to 16 KiB of it.
_FIELD_BYTES = 3

# What the contract says is none: auth_service.proto. One that somebody has made
# as long as a request would else push everybody else out of the call.
MAX_SESSION_ID_BYTES = 128


_Call: TypeAlias = Call[
    pb.BatchValidateSessionsRequest,
    pb.BatchValidateSessionsResponse,
    list[Session | WxauthError],
]


class Part(NamedTuple):
    """One call, and the places of its results among all."""

    places: list[int]
    call: _Call


class ValidationBatch:
    """What `validate_sessions` was asked for: make the call of each part and `put` its results."""

    def __init__(self, session_ids: Iterable[str], app_id: str, timeout_s: float | None) -> None:
        """Raises TypeError for one SessionId in place of several."""
        if isinstance(session_ids, str):
            raise TypeError("session_ids is one text: give a list of them")
        self._session_ids = list(session_ids)
        self._app_id = app_id
        self._end = time.monotonic() + or_default(timeout_s, VALIDATE_SESSIONS_TIMEOUT_S)
        # What cannot be sent stays so.
        self.results: list[Session | WxauthError] = [
            SessionInvalid("No SessionId is like this; it was not sent.") for _ in self._session_ids
        ]

    def parts(self) -> Iterator[Part]:
        """One after the other, each with the time that is left. Raises RequestInvalid."""
        places: list[int] = []
        size = 0
        for place, session_id in enumerate(self._session_ids):
            length = _bytes_of(session_id)
            if not 0 < length <= MAX_SESSION_ID_BYTES:
                continue
            size += length + _FIELD_BYTES
            if len(places) == MAX_SESSION_IDS or size > _MAX_BYTES:
                yield self._part(places)
                places, size = [], length + _FIELD_BYTES
            places.append(place)
        if places:
            yield self._part(places)

    def put(self, part: Part, found: list[Session | WxauthError]) -> None:
        for place, result in zip(part.places, found, strict=True):
            self.results[place] = result

    def _part(self, places: list[int]) -> Part:
        session_ids = [self._session_ids[place] for place in places]
        left_s = self._end - time.monotonic()
        call: _Call = Call(
            encodable(
                lambda: pb.BatchValidateSessionsRequest(
                    session_ids=session_ids, app_id=self._app_id
                )
            ),
            # gRPC sends a call whose time is up by less than a millisecond.
            left_s if left_s > 0 else -1.0,
            lambda answer: read_validations(answer, len(places)),
            raise_failure,
        )
        return Part(places, call)


def _bytes_of(text: str) -> int:
    """Of UTF-8; 0 for what UTF-8 cannot hold."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0
