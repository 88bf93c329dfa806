"""AuthClient, for threads. Its twin for asyncio is in aio.py."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from wxauth_client import account_calls, session_calls, wechat_calls
from wxauth_client.access import Access
from wxauth_client.admission import Readiness
from wxauth_client.call import READY_TIMEOUT_S
from wxauth_client.channel import DEFAULT_ADDRESS, MAX_IN_FLIGHT, Options
from wxauth_client.connection import Connection
from wxauth_client.credentials import Credentials
from wxauth_client.errors import WxauthError
from wxauth_client.sending import Sender
from wxauth_client.validation_batch import ValidationBatch
from wxauth_client.values import (
    ClientInfo,
    DeletedAccount,
    Login,
    OwnSession,
    PhoneNumber,
    Session,
    Unbound,
    UserData,
)


class AuthClient:
    """A connection to wxauth. Make one per process and share it between threads.

    `address` is a gRPC target, such as "127.0.0.1:50051" or "dns:///wxauth:50051".
    Connects at the first call and reconnects by itself. Make it after forking.
    At most `max_in_flight` calls are on the wire at a time (channel.py says
    why); the others wait, inside their deadlines.

    `credentials` say how to reach and convince a server off this machine:
    Credentials.from_environment(), mostly. None: plaintext, no token. Making a
    client raises FileUnusable for files of theirs, ValueError where a token would
    travel in the open.

    Every method raises WxauthError, see errors/. `timeout_s` bounds a call
    with all its waiting and retries. `options` are gRPC channel arguments that
    override or complete ours.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        credentials: Credentials | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        options: Options | None = None,
    ) -> None:
        access = Access(address, credentials, options)
        self._connection = Connection(access)
        self._sender = Sender(self._connection, access, max_in_flight)
        self._readiness = Readiness()

    def login(
        self,
        code: str,
        *,
        app_id: str = "",
        username: str = "",
        password: str = "",
        phone_code: str = "",
        rebind: bool = False,
        request_id: str | None = None,
        client: ClientInfo | None = None,
        timeout_s: float | None = None,
    ) -> Login:
        """Log in with a code of wx.login. 8 s.

        Username and password bind; `rebind` moves a binding that is in the way,
        after asking the user. `phone_code`, of the phone number button, binds
        where the mini-program allows it.

        Sent up to 4 times, or 6 to a server that says Throttled for a short time,
        or 7 to one that cannot be reached, 5 s each, until something is decided;
        one session comes of it, since all attempts have the same `request_id`.
        Give one (22 to 128 bytes of visible ASCII, at least 128 bits from
        `secrets`) to repeat the call by yourself within 60 s: that gives the same
        session.
        docs/python-client.md says what to do after each failure.
        """
        call = account_calls.login(
            code,
            app_id=app_id,
            username=username,
            password=password,
            phone_code=phone_code,
            rebind=rebind,
            request_id=request_id,
            client=client,
            timeout_s=timeout_s,
        )
        return self._sender.make(lambda link: link.auth.Login, call)

    def validate(
        self, session_id: str, *, app_id: str = "", timeout_s: float | None = None
    ) -> Session:
        """Say whose live session this is. 0.5 s. Raises SessionDead if it is none.

        With `app_id`, a session of another mini-program is SessionInvalid.
        """
        call = session_calls.validate(session_id, app_id, timeout_s)
        return self._sender.make(lambda link: link.auth.ValidateSession, call)

    def validate_sessions(
        self, session_ids: Iterable[str], *, app_id: str = "", timeout_s: float | None = None
    ) -> list[Session | WxauthError]:
        """Say for each SessionId whose live session it is, in their order. 1 s for all.

        Let in who has a Session: in place of it there is what `validate` would raise,
        mostly a SessionDead. What the server cannot answer is raised, for all of them.
        More than 1000 go in several calls, one after the other.
        """
        batch = ValidationBatch(session_ids, app_id, timeout_s)
        for part in batch.parts():
            found = self._sender.make(lambda link: link.auth.BatchValidateSessions, part.call)
            batch.put(part, found)
        return batch.results

    def unbind(
        self,
        session_id: str,
        *,
        code: str = "",
        password: str = "",
        timeout_s: float | None = None,
    ) -> Unbound:
        """End the binding of the session's WeChat user; the proof is a code or a password. 8 s.

        A repetition is success: see Unbound. Raises ValueError if both proofs
        are given.
        """
        call = account_calls.unbind(session_id, code, password, timeout_s)
        return self._sender.make(lambda link: link.auth.Unbind, call)

    def logout(self, session_id: str, *, timeout_s: float | None = None) -> None:
        """End a session. 2 s. A repetition is success."""
        call = session_calls.logout(session_id, timeout_s)
        self._sender.make(lambda link: link.auth.Logout, call)

    def list_sessions(self, session_id: str, *, timeout_s: float | None = None) -> list[OwnSession]:
        """Give the live sessions of the session's account in its mini-program. 2 s.

        Newest login first, at most 100. Raises SessionDead if `session_id` is of none.
        """
        call = session_calls.list_sessions(session_id, timeout_s)
        return self._sender.make(lambda link: link.auth.ListSessions, call)

    def revoke_session(
        self, session_id: str, handle: str, *, timeout_s: float | None = None
    ) -> None:
        """End the session that `list_sessions` calls `handle`, the asking one too. 2 s.

        One that has ended already is success. Raises RequestInvalid if the account
        has none with this handle, SessionDead if `session_id` is of none: after an
        answer that was lost, because the session has ended itself.
        """
        call = session_calls.revoke_session(session_id, handle, timeout_s)
        self._sender.make(lambda link: link.auth.RevokeSession, call)

    def delete_account(
        self,
        session_id: str,
        *,
        code: str = "",
        password: str = "",
        timeout_s: float | None = None,
    ) -> DeletedAccount:
        """Delete the session's account, its bindings and its sessions everywhere. 8 s.

        Cannot be taken back. The proof is a code or a password, as for `unbind`.
        A repetition is success: see DeletedAccount. Raises ValueError if both
        proofs are given.
        """
        call = account_calls.delete_account(session_id, code, password, timeout_s)
        return self._sender.make(lambda link: link.auth.DeleteAccount, call)

    def decrypt_user_data(
        self, session_id: str, encrypted_data: str, iv: str, *, timeout_s: float | None = None
    ) -> UserData:
        """Open `encryptedData` and `iv`, as the mini-program got them. 1 s.

        Raises UserDataInvalid if that fails, SessionKeyInvalid if nothing can open it.
        """
        call = wechat_calls.decrypt_user_data(session_id, encrypted_data, iv, timeout_s)
        return self._sender.make(lambda link: link.wechat.DecryptUserData, call)

    def verify_user_data(
        self, session_id: str, raw_data: str, signature: str, *, timeout_s: float | None = None
    ) -> None:
        """Check `rawData`, byte for byte, against its `signature`. 1 s.

        Raises UserDataInvalid if it is not right, SessionKeyInvalid if nothing can tell.
        """
        call = wechat_calls.verify_user_data(session_id, raw_data, signature, timeout_s)
        self._sender.make(lambda link: link.wechat.VerifyUserData, call)

    def phone_number(
        self, session_id: str, code: str, *, timeout_s: float | None = None
    ) -> PhoneNumber:
        """Ask WeChat for the number behind a code of the phone number button. 4 s.

        Raises CodeInvalid or CodeUsed: the user presses the button again. The
        code works once, so this is never retried.
        """
        call = wechat_calls.phone_number(session_id, code, timeout_s)
        return self._sender.make(lambda link: link.wechat.GetPhoneNumber, call)

    def check_session_key(self, session_id: str, *, timeout_s: float | None = None) -> None:
        """Ask WeChat whether the session_key is still good. 4 s. Raises SessionKeyInvalid."""
        call = wechat_calls.check_session_key(session_id, timeout_s)
        self._sender.make(lambda link: link.wechat.CheckSessionKey, call)

    def reset_session_key(self, session_id: str, *, timeout_s: float | None = None) -> None:
        """Have WeChat replace the session_key. 4 s. Raises SessionKeyInvalid.

        What WeChat gave to the mini-program before no longer opens. Never retried.
        """
        call = wechat_calls.reset_session_key(session_id, timeout_s)
        self._sender.make(lambda link: link.wechat.ResetSessionKey, call)

    def ready(self, timeout_s: float = READY_TIMEOUT_S) -> bool:
        """Say whether the server serves and lets this client in. Raises nothing.

        The log (wxauth.client) says why not, once each time that this changes.
        """
        return self._readiness.without(self._connection.obstacle(timeout_s))

    def close(self) -> None:
        """Close the connection; calls still under way fail with ServerUnreachable."""
        self._sender.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
