"""What `wxauth copy` takes from one database to the other: every table, and how.

A test compares the lists with the real schema of each engine, so no table and no
column can be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

#: What a column holds, as both engines' drivers hand it over. NULL is None.
Kind: TypeAlias = type[str] | type[int] | type[bytes]


@dataclass(frozen=True)
class CopiedTable:
    """A table that is copied row by row."""

    name: str
    #: The columns of the primary key, in its order.
    key: tuple[str, ...]
    columns: Mapping[str, Kind]
    #: Whether the database numbers new rows in its one key column.
    numbered: bool = False

    @property
    def column_list(self) -> str:
        return ", ".join(self.columns)

    @property
    def key_list(self) -> str:
        return ", ".join(self.key)


#: Parents before their children: rows refer to rows that are there already.
COPIED: tuple[CopiedTable, ...] = (
    CopiedTable(
        "accounts",
        ("source", "id"),
        {
            "source": str,
            "id": str,
            "username": str,
            "username_key": str,
            "display_name": str,
            "phone": str,
            "phone_verified_at": int,
            "password": str,
            "password_version": int,
            "created_at": int,
            "disabled_at": int,
            "deleted_at": int,
            "deletion_told_at": int,
        },
    ),
    CopiedTable(
        "bindings",
        ("app_id", "openid"),
        {
            "app_id": str,
            "openid": str,
            "account_source": str,
            "account_id": str,
            "exclusive": int,
            "unionid": str,
            "bound_at": int,
            "session_key": bytes,
            "session_key_id": str,
            "session_key_at": int,
        },
    ),
    CopiedTable(
        "sessions",
        ("digest",),
        {
            "digest": bytes,
            "handle": str,
            "app_id": str,
            "openid": str,
            "account_source": str,
            "account_id": str,
            "username": str,
            "display_name": str,
            "unionid": str,
            "login_at": int,
            "last_seen_at": int,
            "ended_at": int,
            "ended_cause": str,
            "client_address": str,
            "client_user_agent": str,
            "client_device": str,
        },
    ),
    CopiedTable(
        "sessions_valid_after",
        ("app_id",),
        {"app_id": str, "login_by": int, "ended_at": int, "cause": str},
    ),
    CopiedTable(
        "exchanges",
        ("app_id", "code_digest"),
        {
            "app_id": str,
            "code_digest": bytes,
            "request_digest": bytes,
            "openid": str,
            "unionid": str,
            "session_key": bytes,
            "session_key_id": str,
            "salt": bytes,
            "exchanged_at": int,
            "settled": str,
        },
    ),
    CopiedTable("no_sibling", ("app_id", "openid"), {"app_id": str, "openid": str}),
    CopiedTable(
        "throttles",
        ("name", "app_id", "openid"),
        {
            "name": bytes,
            "app_id": str,
            "openid": str,
            "failures": int,
            "pending": int,
            "reserved_at": int,
            "failed_at": int,
        },
    ),
    CopiedTable(
        "departures",
        ("account_source", "account_id", "app_id", "openid"),
        {
            "account_source": str,
            "account_id": str,
            "app_id": str,
            "openid": str,
            "left_at": int,
        },
    ),
    CopiedTable(
        "keys_in_use",
        ("purpose", "key_id"),
        {"purpose": str, "key_id": str, "check_value": bytes},
    ),
    CopiedTable(
        "audit_events",
        ("id",),
        {
            "id": int,
            "at": int,
            "event": str,
            "reason": str,
            "app_id": str,
            "openid": str,
            "account_source": str,
            "account_id": str,
            "session_handle": str,
            "client_address": str,
            "actor": str,
            "count": int,
            "count_key": bytes,
            "caller": str,
        },
        numbered=True,
    ),
)

#: Tables that are not copied, and why.
LEFT: Mapping[str, str] = {
    "schema_state": "each database says its own version",
    "revocations": "positions mean something in one database only; nobody answers from memory "
    "while it is copied, and whoever did before begins anew",
    "revocation_log": "a copy is another database, with an id and positions of its own",
}
