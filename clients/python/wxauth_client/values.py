"""What goes into a call and what comes out: plain values, no protobuf.

Secrets and personal ids are left out of `repr`, so that a logged or asserted
value does not spread them. All times are aware, in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """The user's device, as a gateway saw it; the limits in bytes are the contract's.

    The server trusts it from gateways only.
    """

    address: str = ""  # IPv4 or IPv6 text, at most 45
    user_agent: str = ""  # at most 512
    device: str = ""  # what the user would call it, at most 128


@dataclass(frozen=True, slots=True)
class Account:
    """One of the company's own accounts; (source, id) identifies it."""

    source: str
    id: str
    username: str  # empty if the account has none
    display_name: str  # empty if unknown


@dataclass(frozen=True, slots=True)
class Login:
    """A session that has just begun."""

    session_id: str = field(repr=False)  # the secret; the server shows it only here
    account: Account
    bound_now: bool  # True if this login made the binding
    idle_expire_time: datetime  # each use moves it
    absolute_expire_time: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """A live session: whose it is and until when."""

    account: Account
    app_id: str
    openid: str = field(repr=False)
    unionid: str = field(repr=False)  # empty until WeChat sends one
    handle: str  # the session's public name: safe to log, opens nothing
    login_time: datetime
    idle_expire_time: datetime  # each use moves it
    absolute_expire_time: datetime
    reuse_for: timedelta  # how long this answer may be reused, from the start of the call


@dataclass(frozen=True, slots=True)
class Unbound:
    """A binding that has ended, and with it all its sessions.

    `already` is True when this session's binding had been ended before, by a
    call whose answer was lost perhaps. The server then tells nothing more, so
    the other fields are None. Nor does it speak of a binding made since.
    """

    already: bool
    account: Account | None = None
    app_id: str | None = None
    openid: str | None = field(default=None, repr=False)
    sessions_ended: int | None = None  # the caller's own included


@dataclass(frozen=True, slots=True)
class OwnSession:
    """One of a user's live sessions, as its owner may see it. The texts are empty if unknown."""

    handle: str  # the session's public name; `revoke_session` takes it
    current: bool  # True for the session that asked
    device: str  # what the user would call it, as the gateway was told
    user_agent: str  # of the login
    network: str  # that the login came from, such as "203.0.113.0/24"
    login_time: datetime
    last_seen_time: datetime  # at the granularity of a tenth of the idle limit, or 5 minutes
    idle_expire_time: datetime  # each use moves it
    absolute_expire_time: datetime


@dataclass(frozen=True, slots=True)
class DeletedAccount:
    """An account that its owner has deleted, with all its sessions and bindings.

    `already` is True when that had been done before, by a call whose answer was
    lost perhaps. The server then tells nothing more, so the other fields are
    None.
    """

    already: bool
    account: Account | None = None  # its names are no longer known
    bindings_ended: int | None = None
    sessions_ended: int | None = None  # the caller's own included


@dataclass(frozen=True, slots=True)
class UserData:
    """What WeChat had encrypted for the mini-program. Personal: keep it no longer than needed."""

    data: Mapping[str, Any] = field(repr=False)  # as WeChat wrote it, `watermark` included
    watermark_time: datetime  # when WeChat made it


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number that the user has just agreed to share, verified by WeChat. Personal."""

    phone_number: str = field(repr=False)  # E.164, such as "+8613800138000"
    country_code: str  # such as "86"
    national_number: str = field(repr=False)  # without the country code
