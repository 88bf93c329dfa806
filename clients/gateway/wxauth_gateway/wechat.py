"""POST /wechat/phone-number and POST /wechat/user-data: what a session allows with WeChat.

Nothing of what these open is kept or logged here.
"""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import FastAPI, Security
from starlette.responses import Response

from wxauth_gateway.answers import ClientSource, answer, error_responses
from wxauth_gateway.bearer import SessionBearer
from wxauth_gateway.messages.wechat import (
    PhoneNumberAnswer,
    PhoneNumberBody,
    UserDataAnswer,
    UserDataBody,
)

_USER_DATA_PATH = "/wechat/user-data"

# As many bytes as the server reads of a message. The contract's longest take 48 KiB:
# encryptedData and rawData of 16 KiB each, the latter with every byte escaped by
# another one. WeChat sends far less: 30 days of steps, its longest, are 2 KiB.
BODY_LIMITS = {_USER_DATA_PATH: 65_536}

SessionId = Annotated[str, Security(SessionBearer())]

_ERRORS = error_responses(401, 408, 413, 415, 429, 503, 504)


def add_routes(api: FastAPI, client: ClientSource) -> None:
    async def phone_number(session_id: SessionId, body: PhoneNumberBody) -> Response:
        """The phone number that the user has just agreed to share.

        CODE_INVALID and CODE_USED are about this code, not about the session:
        the user presses the button again.
        """
        number = await client().phone_number(session_id, body.code)
        return answer(PhoneNumberAnswer.of(number))

    async def user_data(session_id: SessionId, body: UserDataBody) -> Response:
        """Verify `rawData`, if it is there; then decrypt `encryptedData`, if it is there.

        SESSION_KEY_INVALID: log in with a new code, then fetch the data anew.
        """
        if body.signature:
            await client().verify_user_data(session_id, body.raw_data, body.signature)
        if not body.iv:
            return answer(UserDataAnswer())
        opened = UserDataAnswer.of(
            await client().decrypt_user_data(session_id, body.encrypted_data, body.iv)
        )
        # Not by pydantic: a nickname that WeChat cut within a character holds half
        # a surrogate pair, which UTF-8 cannot hold. JSON can escape it, and writes
        # it as Python's "backslashreplace" does.
        text = json.dumps(
            opened.model_dump(by_alias=True),
            ensure_ascii=False,
            separators=(",", ":"),
            allow_nan=False,
        )
        return Response(text.encode("utf-8", "backslashreplace"), media_type="application/json")

    api.add_api_route(
        "/wechat/phone-number",
        phone_number,
        methods=["POST"],
        summary="Phone number",
        response_model=PhoneNumberAnswer,
        responses=_ERRORS,
    )
    api.add_api_route(
        _USER_DATA_PATH,
        user_data,
        methods=["POST"],
        summary="Verify and decrypt user data",
        response_model=UserDataAnswer,
        responses=_ERRORS,
    )
