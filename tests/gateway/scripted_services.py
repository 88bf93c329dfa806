"""The scripted server with WeChatService besides, for the gateway's tests and the client's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from tests.scripted_server import NOON, ScriptedServer, at, say
from wxauth.v1 import auth_service_pb2_grpc, wechat_service_pb2_grpc
from wxauth.v1 import wechat_service_pb2 as pb

DATA = {"nickName": "张三", "gender": 1, "watermark": {"appid": "wx1", "timestamp": 1_772_366_400}}
DECRYPTED = pb.DecryptUserDataResponse(
    data=json.dumps(DATA, ensure_ascii=False), watermark_time=at(NOON)
)
NUMBER = pb.GetPhoneNumberResponse(
    phone_number="+8613800138000", country_code="86", national_number="13800138000"
)


class ScriptedWeChatServer(ScriptedServer, wechat_service_pb2_grpc.WeChatServiceServicer):
    """Answers both services."""

    def reset(self) -> None:
        super().reset()
        self.answers |= {
            "DecryptUserData": say(DECRYPTED),
            "VerifyUserData": say(pb.VerifyUserDataResponse()),
            "GetPhoneNumber": say(NUMBER),
            "CheckSessionKey": say(pb.CheckSessionKeyResponse()),
            "ResetSessionKey": say(pb.ResetSessionKeyResponse()),
        }

    def DecryptUserData(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's naming
        return self._answer("DecryptUserData", request, context)

    def VerifyUserData(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("VerifyUserData", request, context)

    def GetPhoneNumber(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("GetPhoneNumber", request, context)

    def CheckSessionKey(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("CheckSessionKey", request, context)

    def ResetSessionKey(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("ResetSessionKey", request, context)


@contextmanager
def scripted_wechat_server(workers: int = 16) -> Iterator[ScriptedWeChatServer]:
    """Serve in threads of this process until the block ends."""
    scripted = ScriptedWeChatServer()
    with ThreadPoolExecutor(workers) as pool:
        server = grpc.server(pool)
        auth_service_pb2_grpc.add_AuthServiceServicer_to_server(scripted, server)
        wechat_service_pb2_grpc.add_WeChatServiceServicer_to_server(scripted, server)
        health_pb2_grpc.add_HealthServicer_to_server(scripted.health, server)
        scripted.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield scripted
        finally:
            server.stop(grace=None).wait()
