"""The calls of WeChatService: what a session allows with the session_key."""

from __future__ import annotations

from wxauth.v1 import wechat_service_pb2 as pb
from wxauth_client.call import Call, encodable, or_default, raise_failure
from wxauth_client.reading import read_nothing, read_phone_number, read_user_data
from wxauth_client.values import PhoneNumber, UserData

# Default deadlines.
SESSION_KEY_TIMEOUT_S = 1.0  # what the server does with the session_key by itself
WECHAT_TIMEOUT_S = 4.0  # what waits for WeChat (3 s)


def decrypt_user_data(
    session_id: str, encrypted_data: str, iv: str, timeout_s: float | None
) -> Call[pb.DecryptUserDataRequest, pb.DecryptUserDataResponse, UserData]:
    return Call(
        encodable(
            lambda: pb.DecryptUserDataRequest(
                session_id=session_id, encrypted_data=encrypted_data, iv=iv
            )
        ),
        or_default(timeout_s, SESSION_KEY_TIMEOUT_S),
        read_user_data,
        raise_failure,
    )


def verify_user_data(
    session_id: str, raw_data: str, signature: str, timeout_s: float | None
) -> Call[pb.VerifyUserDataRequest, pb.VerifyUserDataResponse, None]:
    return Call(
        encodable(
            lambda: pb.VerifyUserDataRequest(
                session_id=session_id, raw_data=raw_data, signature=signature
            )
        ),
        or_default(timeout_s, SESSION_KEY_TIMEOUT_S),
        read_nothing,
        raise_failure,
    )


def phone_number(
    session_id: str, code: str, timeout_s: float | None
) -> Call[pb.GetPhoneNumberRequest, pb.GetPhoneNumberResponse, PhoneNumber]:
    return Call(
        encodable(lambda: pb.GetPhoneNumberRequest(session_id=session_id, code=code)),
        or_default(timeout_s, WECHAT_TIMEOUT_S),
        read_phone_number,
        raise_failure,
    )


def check_session_key(
    session_id: str, timeout_s: float | None
) -> Call[pb.CheckSessionKeyRequest, pb.CheckSessionKeyResponse, None]:
    return Call(
        encodable(lambda: pb.CheckSessionKeyRequest(session_id=session_id)),
        or_default(timeout_s, WECHAT_TIMEOUT_S),
        read_nothing,
        raise_failure,
    )


def reset_session_key(
    session_id: str, timeout_s: float | None
) -> Call[pb.ResetSessionKeyRequest, pb.ResetSessionKeyResponse, None]:
    return Call(
        encodable(lambda: pb.ResetSessionKeyRequest(session_id=session_id)),
        or_default(timeout_s, WECHAT_TIMEOUT_S),
        read_nothing,
        raise_failure,
    )
