"""SQL of bindings as an operator lists them."""

from __future__ import annotations

from wxauth_server.store.bindings import BindingRecord
from wxauth_server.store.interface import Transaction

_COLUMNS = ", ".join(BindingRecord._fields)


def list_bindings_after(
    tx: Transaction,
    *,
    account: tuple[str, str] | None,
    app_id: str,
    openid: str,
    after: tuple[str, str],
    limit: int,
) -> list[BindingRecord]:
    """Bindings behind (AppId, openid), in that order. What is empty or None filters nothing."""
    conditions = ["(app_id, openid) > (:after_app, :after_openid)"]
    if account is not None:
        conditions.append("account_source = :source AND account_id = :account_id")
    if app_id:
        conditions.append("app_id = :app_id")
    if openid:
        conditions.append("openid = :openid")
    source, account_id = account or ("", "")
    rows = tx.execute(
        f"""
        SELECT {_COLUMNS} FROM bindings WHERE {" AND ".join(conditions)}
        ORDER BY app_id, openid LIMIT :limit
        """,  # noqa: S608
        {
            "after_app": after[0],
            "after_openid": after[1],
            "source": source,
            "account_id": account_id,
            "app_id": app_id,
            "openid": openid,
            "limit": limit,
        },
    )
    return [BindingRecord._make(row) for row in rows]
