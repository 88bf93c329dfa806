"""AdminService: accounts are found, listed and added, and their data is set."""

from __future__ import annotations

from functools import partial

from wxauth.v1.admin_service_pb2 import (
    AccountKey,
    CreateAccountRequest,
    CreateAccountResponse,
    GetAccountRequest,
    GetAccountResponse,
    ListAccountsRequest,
    ListAccountsResponse,
    SetPasswordRequest,
    SetPasswordResponse,
    SetPhoneRequest,
    SetPhoneResponse,
    SetUsernameRequest,
    SetUsernameResponse,
)
from wxauth_server.accounts.account_fields import (
    check_display_name,
    check_id,
    check_phone,
    check_username,
)
from wxauth_server.accounts.manage import (
    AccountManager,
    ForeignHash,
    IdTaken,
    NewPassword,
    NoSuchAccount,
    UsernameTaken,
)
from wxauth_server.accounts.passwords import PasswordRefused
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.apps import Apps
from wxauth_server.auth.manage_sessions import is_live
from wxauth_server.clock import Clock
from wxauth_server.errors import AccountExists, NotFound, RequestInvalid
from wxauth_server.rpc.admin.fields import (
    DEFAULT_PAGE_SIZE,
    MAX_HANDLE_BYTES,
    MAX_HASH_BYTES,
    MAX_SOURCE_BYTES,
    AdminViolations,
    find_key,
    page_token,
    read_page_token,
)
from wxauth_server.rpc.admin.seen_accounts import SeenAccounts
from wxauth_server.store.audit import HERE, Origin
from wxauth_server.store.interface import Store
from wxauth_server.store.own_sessions import find_session_by_handle


class AccountCalls:
    """Answers from the store. Blocking; thread-safe."""

    def __init__(
        self,
        store: Store,
        manager: AccountManager,
        seen: SeenAccounts,
        *,
        apps: Apps,
        clock: Clock,
    ) -> None:
        self._store = store
        self._manager = manager
        self._seen = seen
        self._apps = apps
        self._clock = clock

    def create(self, request: CreateAccountRequest, origin: Origin = HERE) -> CreateAccountResponse:
        violations = AdminViolations()
        if request.id:
            violations.check("id", partial(check_id, request.id))
        if request.username:
            violations.check("username", partial(check_username, request.username))
        else:
            violations.add("username", "required")
        if request.display_name:
            violations.check("display_name", partial(check_display_name, request.display_name))
        phone = request.phone or None
        violations.check("phone", partial(check_phone, phone, verified=request.phone_verified))
        secret = _secret(request, violations)
        violations.raise_if_any()
        try:
            added = self._manager.add(
                account_id=request.id or None,
                username=request.username,
                display_name=request.display_name or None,
                phone=phone,
                phone_verified=request.phone_verified,
                password=secret,
                origin=origin,
            )
        except IdTaken:
            raise AccountExists("id") from None
        except UsernameTaken:
            raise AccountExists("username") from None
        except PasswordRefused as refused:
            raise _refused(request, refused) from None
        return CreateAccountResponse(account=self._seen.details(added.key))

    def get(self, request: GetAccountRequest, origin: Origin = HERE) -> GetAccountResponse:
        del origin
        violations = AdminViolations()
        violations.account(request.account)
        violations.raise_if_any()
        key = self._store.read(lambda tx: find_key(tx, request.account))
        return GetAccountResponse(account=self._seen.details(key))

    def list(self, request: ListAccountsRequest, origin: Origin = HERE) -> ListAccountsResponse:
        del origin
        violations = AdminViolations()
        violations.text("source", request.source, MAX_SOURCE_BYTES)
        violations.page(request.page_size, request.page_token)
        violations.raise_if_any()
        (after_id,) = read_page_token(request.page_token, "")
        size = request.page_size or DEFAULT_PAGE_SIZE
        found = self._seen.page(
            request.source or LOCAL, deleted=request.deleted, after_id=after_id, limit=size + 1
        )
        more = page_token(found[size - 1].id) if len(found) > size else ""
        return ListAccountsResponse(accounts=found[:size], next_page_token=more)

    def set_password(
        self, request: SetPasswordRequest, origin: Origin = HERE
    ) -> SetPasswordResponse:
        violations = AdminViolations()
        violations.account(request.account, local=True)
        secret = _secret(request, violations)
        if secret is None:
            violations.add("secret", "required: password or password_hash")
        kept = request.keep_session_handle
        violations.text("keep_session_handle", kept, MAX_HANDLE_BYTES)
        violations.raise_if_any()
        assert secret is not None  # noqa: S101 - or it would be a violation
        account_id = self._local_id(request.account)
        if kept and not self._is_live_session(kept, account_id):
            raise RequestInvalid(("keep_session_handle", "no live session of this account"))
        try:
            change = self._manager.set_password(
                account_id, secret, kept_handle=kept or None, origin=origin
            )
        except NoSuchAccount:
            raise NotFound("account") from None
        except PasswordRefused as refused:
            raise _refused(request, refused) from None
        return SetPasswordResponse(
            account=self._seen.details(change.account.key), sessions_ended=change.sessions_ended
        )

    def set_phone(self, request: SetPhoneRequest, origin: Origin = HERE) -> SetPhoneResponse:
        violations = AdminViolations()
        violations.account(request.account, local=True)
        phone = request.phone or None
        violations.check("phone", partial(check_phone, phone, verified=request.verified))
        violations.raise_if_any()
        try:
            change = self._manager.set_phone(
                self._local_id(request.account),
                phone,
                verified=request.verified,
                origin=origin,
            )
        except NoSuchAccount:
            raise NotFound("account") from None
        return SetPhoneResponse(
            account=self._seen.details(change.account.key), changed=change.changed
        )

    def set_username(
        self, request: SetUsernameRequest, origin: Origin = HERE
    ) -> SetUsernameResponse:
        violations = AdminViolations()
        violations.account(request.account, local=True)
        if request.username:
            violations.check("username", partial(check_username, request.username))
        else:
            violations.add("username", "required")
        violations.raise_if_any()
        try:
            change = self._manager.set_username(
                self._local_id(request.account), request.username, origin=origin
            )
        except NoSuchAccount:
            raise NotFound("account") from None
        except UsernameTaken:
            raise AccountExists("username") from None
        return SetUsernameResponse(
            account=self._seen.details(change.account.key), changed=change.changed
        )

    def _local_id(self, key: AccountKey) -> str:
        return self._store.read(lambda tx: find_key(tx, key))[1]

    def _is_live_session(self, handle: str, account_id: str) -> bool:
        session = self._store.read(lambda tx: find_session_by_handle(tx, handle))
        return (
            session is not None
            and session.account == (LOCAL, account_id)
            and is_live(session, self._apps, self._clock.now_ms())
        )


def _secret(
    request: CreateAccountRequest | SetPasswordRequest, violations: AdminViolations
) -> NewPassword | ForeignHash | None:
    # By which of the two is set, so that an empty password is refused as too short.
    match request.WhichOneof("secret"):
        case "password":
            return NewPassword(request.password)
        case "password_hash":
            violations.text("password_hash", request.password_hash, MAX_HASH_BYTES)
            return ForeignHash(request.password_hash)
    return None


def _refused(
    request: CreateAccountRequest | SetPasswordRequest, refused: PasswordRefused
) -> RequestInvalid:
    return RequestInvalid((request.WhichOneof("secret") or "secret", str(refused)))
