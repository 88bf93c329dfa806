"""Rows of the store as messages of AdminService."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from wxauth.v1.admin_service_pb2 import AccountDetails, Binding, SessionDetails
from wxauth_server.apps import Apps
from wxauth_server.auth.validate_session import check_live
from wxauth_server.errors import SessionExpired, SessionRevoked
from wxauth_server.store.admin_accounts import AccountEntry
from wxauth_server.store.admin_sessions import SessionEntry
from wxauth_server.store.bindings import BindingRecord


def timestamp(milliseconds: int | None) -> Timestamp | None:
    if milliseconds is None:
        return None
    return Timestamp(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def account_details(entry: AccountEntry, *, password_locked: bool) -> AccountDetails:
    account = entry.record
    return AccountDetails(
        source=account.source,
        id=account.id,
        username=account.username or "",
        display_name=account.display_name or "",
        phone=account.phone or "",
        phone_verified_time=timestamp(account.phone_verified_at),
        has_password=account.password is not None,
        password_locked=password_locked,
        create_time=timestamp(account.created_at),
        disable_time=timestamp(account.disabled_at),
        delete_time=timestamp(entry.deleted_at),
    )


def binding(record: BindingRecord) -> Binding:
    return Binding(
        app_id=record.app_id,
        openid=record.openid,
        unionid=record.unionid or "",
        account_source=record.account_source,
        account_id=record.account_id,
        bind_time=timestamp(record.bound_at),
    )


def session_details(entry: SessionEntry, apps: Apps, now_ms: int) -> SessionDetails:
    """The session with what a validation at `now_ms` would find."""
    session = entry.record
    state, detail, ended_at = SessionDetails.STATE_LIVE, "", None
    app = apps.get(session.app_id)
    if app is None:
        state = SessionDetails.STATE_UNSERVED
    else:
        try:
            check_live(session, app, now_ms)
        except SessionRevoked as dead:
            state, detail = SessionDetails.STATE_ENDED, dead.metadata["cause"]
            ended_at = session.ended_at
        except SessionExpired as dead:
            state, detail = SessionDetails.STATE_EXPIRED, dead.metadata["limit"]
    return SessionDetails(
        session_handle=session.handle,
        state=state,
        detail=detail,
        app_id=session.app_id,
        openid=session.openid,
        account_source=session.account_source,
        account_id=session.account_id,
        username=session.username or "",
        login_time=timestamp(session.login_at),
        last_seen_time=timestamp(session.last_seen_at),
        end_time=timestamp(ended_at),
        client_address=entry.client_address or "",
        client_device=entry.client_device or "",
    )
