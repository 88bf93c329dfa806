"""WeChatService as the contract has it: messages in, the domain, messages out."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from wxauth.v1.wechat_service_pb2 import (
    CheckSessionKeyRequest,
    CheckSessionKeyResponse,
    DecryptUserDataRequest,
    DecryptUserDataResponse,
    GetPhoneNumberRequest,
    GetPhoneNumberResponse,
    ResetSessionKeyRequest,
    ResetSessionKeyResponse,
    VerifyUserDataRequest,
    VerifyUserDataResponse,
)
from wxauth.v1.wechat_service_pb2_grpc import WeChatServiceServicer
from wxauth_server.auth.user_data import UserDataFlow
from wxauth_server.rpc.guard import Context, deadline_of
from wxauth_server.rpc.requests import (
    check_decrypt,
    check_phone_number,
    check_session_key,
    check_verify,
)


class WeChatServicer(WeChatServiceServicer):
    """Raises the domain's errors: served through a `GuardedServer` only."""

    def __init__(self, user_data: UserDataFlow) -> None:
        self._user_data = user_data

    async def DecryptUserData(
        self, request: DecryptUserDataRequest, context: Context
    ) -> DecryptUserDataResponse:
        check_decrypt(request)
        opened = await self._user_data.decrypt(
            request.session_id, request.encrypted_data, request.iv
        )
        return DecryptUserDataResponse(
            data=opened.json_text, watermark_time=Timestamp(seconds=opened.watermark_time_s)
        )

    async def VerifyUserData(
        self, request: VerifyUserDataRequest, context: Context
    ) -> VerifyUserDataResponse:
        check_verify(request)
        await self._user_data.verify(request.session_id, request.raw_data, request.signature)
        return VerifyUserDataResponse()

    async def GetPhoneNumber(
        self, request: GetPhoneNumberRequest, context: Context
    ) -> GetPhoneNumberResponse:
        check_phone_number(request)
        number = await self._user_data.phone_number(
            request.session_id, request.code, deadline_of(context)
        )
        return GetPhoneNumberResponse(
            phone_number=number.e164,
            country_code=number.country_code,
            national_number=number.national_number,
        )

    async def CheckSessionKey(
        self, request: CheckSessionKeyRequest, context: Context
    ) -> CheckSessionKeyResponse:
        check_session_key(request)
        await self._user_data.check_session_key(request.session_id, deadline_of(context))
        return CheckSessionKeyResponse()

    async def ResetSessionKey(
        self, request: ResetSessionKeyRequest, context: Context
    ) -> ResetSessionKeyResponse:
        check_session_key(request)
        await self._user_data.reset_session_key(request.session_id, deadline_of(context))
        return ResetSessionKeyResponse()
