"""Methods of AdminService that are about one account, each as something to do to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.admin_caller import PASSWORD, AdminCaller
from wxauth.v1.admin_service_pb2 import (
    AccountKey,
    DisableAccountRequest,
    EnableAccountRequest,
    EndSessionsRequest,
    GetAccountRequest,
    SetPasswordRequest,
    SetPhoneRequest,
    SetUsernameRequest,
)

#: A way to do something to the account of a key.
Act = Callable[[AdminCaller, AccountKey], Any]

ON_LOCAL: dict[str, Act] = {
    "SetPassword": lambda admin, key: admin.SetPassword(
        SetPasswordRequest(account=key, password=PASSWORD)
    ),
    "SetPhone": lambda admin, key: admin.SetPhone(SetPhoneRequest(account=key)),
    "SetUsername": lambda admin, key: admin.SetUsername(
        SetUsernameRequest(account=key, username="other")
    ),
}
ON_ANY: dict[str, Act] = {
    "DisableAccount": lambda admin, key: admin.DisableAccount(DisableAccountRequest(account=key)),
    "EnableAccount": lambda admin, key: admin.EnableAccount(EnableAccountRequest(account=key)),
    "EndSessions": lambda admin, key: admin.EndSessions(EndSessionsRequest(account=key)),
}
CHANGES = ON_LOCAL | ON_ANY
READS: dict[str, Act] = {
    "GetAccount": lambda admin, key: admin.GetAccount(GetAccountRequest(account=key)),
}
