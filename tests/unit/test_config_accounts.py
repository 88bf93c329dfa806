"""What an operator can set of account sources, guessing and the audit log."""

from __future__ import annotations

import pytest

from tests.unit.configured import (
    APP,
    OTHER,
    SECRET,
    app,
    load,
    nothing_set,  # noqa: F401 - a fixture for every test
    refused,
)

# --- Account sources -----------------------------------------------------------------

HTTP_SOURCE = f"""
[[account_sources]]
kind = "http"
name = "crm"
url = "https://accounts.example.com"
key = "{SECRET}"
"""
SQL_SOURCE = f"""
[[account_sources]]
kind = "sql"
name = "shop"
url = "mysql://wxauth:{SECRET}@db/shop"
verify_query = "SELECT id, username, hash FROM users WHERE username = :username"
get_query = "SELECT id, username, hash FROM users WHERE id = :id"
"""


def app_of(source: str, more: str = "") -> str:
    return app(APP, f'app_secret = "{SECRET}"\naccount_source = "{source}"\n{more}')


def test_an_app_names_its_account_source() -> None:
    configuration = load(app_of("crm") + app(OTHER) + HTTP_SOURCE + SQL_SOURCE)
    assert [each.account_source for each in configuration.served_apps()] == ["crm", "local"]
    assert [(each.kind, each.name) for each in configuration.account_sources] == [
        ("http", "crm"),
        ("sql", "shop"),
    ]
    assert SECRET not in repr(configuration)


def test_the_account_source_of_an_app_is_there() -> None:
    refusal = refused(app_of("crn") + HTTP_SOURCE)
    assert "there is no account source of this name; there is local, crm" in refusal


def test_an_account_source_is_there_once() -> None:
    assert "crm is there more than once" in refused(app() + HTTP_SOURCE + HTTP_SOURCE)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ('kind = "ldap"', "kind"),
        ('name = "local"', "name"),
        ('name = "Shop 1"', "name"),
        ("timeout_s = 6", "timeout_s"),
        ("connections = 0", "connections"),
        ("query = 1", "query"),
    ],
)
def test_settings_of_an_account_source(changed: str, problem: str) -> None:
    key = changed.split(" = ")[0]
    kept = [line for line in HTTP_SOURCE.splitlines() if not line.startswith(f"{key} =")]
    assert problem in refused(app() + "\n".join([*kept, changed]))


@pytest.mark.parametrize("more", ['unbound = "register"', "bind_by_phone = true"])
def test_accounts_are_made_in_our_own_store_only(more: str) -> None:
    refusal = refused(app_of("crm", more) + HTTP_SOURCE)
    assert 'need account_source = "local"' in refusal


# --- Guessing and the audit log ------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [
        "throttle.failures_before_wait = 0",
        "throttle.user_failures_before_wait = 1001",
        "throttle.longest_wait_s = 3601",
        "throttle.failures_before_lock = 101",
        "throttle.failures_before_lock = 9",
        "throttle.logins_per_minute_of_address = 0",
        "throttle.logins_per_s = 0",
        "audit.keep_days = -1",
        "audit.keep_days = 3661",
        'passwords.context_words = [""]',
    ],
)
def test_limits_of_guessing(setting: str) -> None:
    assert refused(setting + "\n" + app()).startswith(setting.split(" = ")[0])


def test_the_audit_log_may_be_kept_for_ever() -> None:
    assert load(app()).audit.kept_ms == 184 * 86_400_000
    assert load("audit.keep_days = 0\n" + app()).audit.kept_ms is None
