"""`wxauth callers`, as a process of its own: adding, listing, and what is refused."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.canary import CANARY
from tests.wxauth_command import done_well, listed, refused, wxauth
from wxauth_server.callers.tokens import digest_of

ORDERS = ("callers", "add", "orders", "--role", "service")
FOLLOW = "Servers that read .wxauth/callers.json follow within a second; copy it to every other"


def callers_file(cwd: Path) -> Path:
    return cwd / ".wxauth" / "callers.json"


def content(cwd: Path) -> list[dict[str, Any]]:
    callers: list[dict[str, Any]] = json.loads(callers_file(cwd).read_text())["callers"]
    return callers


def said(done: subprocess.CompletedProcess[str]) -> tuple[str, list[str]]:
    """Standard output, and the lines on standard error, of a command that did well."""
    assert done.returncode == 0, done
    return done.stdout, done.stderr.splitlines()


def wrong_usage(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A working directory with the caller orders, whose token is in orders.token."""
    said(wxauth(*ORDERS, "--output", "orders.token", cwd=tmp_path))
    CANARY.keep((tmp_path / "orders.token").read_text().strip())
    return tmp_path


# --- Adding -------------------------------------------------------------------


def test_a_token_is_printed_alone_and_only_its_digest_kept(tmp_path: Path) -> None:
    out, told = said(wxauth(*ORDERS, cwd=tmp_path))
    assert re.fullmatch(r"wxc_[0-9A-Za-z_-]{43}\n", out)
    assert told[0] == "orders may call as service, with its token."
    assert told[-1].startswith(FOLLOW)
    [caller] = content(tmp_path)
    assert (caller["name"], caller["roles"]) == ("orders", ["service"])
    [token] = caller["tokens"]
    assert (token["sha256"], token["ends"]) == (digest_of(out.strip()), None)
    assert out.strip() not in callers_file(tmp_path).read_text()
    assert stat.S_IMODE(callers_file(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(callers_file(tmp_path).parent.stat().st_mode) == 0o700


def test_a_token_goes_into_a_new_file_and_over_no_other(orders: Path) -> None:
    file = orders / "orders.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    [caller] = content(orders)
    assert caller["tokens"][0]["sha256"] == digest_of(file.read_text().strip())

    before, callers = file.read_text(), callers_file(orders).read_bytes()
    (orders / "link").symlink_to(orders / "elsewhere")
    add = ("callers", "add", "shop", "--role", "service", "--output")
    refused(wxauth(*add, "orders.token", cwd=orders), "orders.token exists already")
    refused(wxauth(*add, "link", cwd=orders), "link exists already")
    refused(wxauth(*add, "nowhere/token", cwd=orders), "nowhere/token cannot be written")
    assert (file.read_text(), callers_file(orders).read_bytes()) == (before, callers)
    assert not (orders / "elsewhere").exists()


def test_json(tmp_path: Path) -> None:
    out, told = said(wxauth(*ORDERS, "--role", "admin", "--json", cwd=tmp_path))
    made = json.loads(out)
    token = made.pop("token")
    assert made == {"name": "orders", "roles": ["admin", "service"], "certificate_names": []}
    assert content(tmp_path)[0]["tokens"][0]["sha256"] == digest_of(token)
    assert told[-1].startswith(FOLLOW)

    shop = ("callers", "add", "shop", "--role", "service", "--output", "shop.token", "--json")
    assert json.loads(said(wxauth(*shop, cwd=tmp_path))[0])["token"] is None

    again = json.loads(said(wxauth("callers", "rotate", "orders", "--json", cwd=tmp_path))[0])
    assert again.pop("token") != token
    assert again == made


def test_a_caller_with_a_certificate_has_no_token(tmp_path: Path) -> None:
    names = ("gateway.internal", "spiffe://shop.example/gateway")
    options = [text for name in (*names, names[0]) for text in ("--certificate-name", name)]
    add = ("callers", "add", "gateway", "--role", "gateway", *options)
    out, told = said(wxauth(*add, cwd=tmp_path))
    assert out == ""
    assert told[0].endswith("a certificate with the name " + " or ".join(names) + ".")
    [caller] = content(tmp_path)
    assert (caller["certificate_names"], "tokens" in caller) == (list(names), False)

    before = callers_file(tmp_path).read_bytes()
    other = ("callers", "add", "shop", "--role", "gateway", "--certificate-name", names[1])
    refused(wxauth(*other, cwd=tmp_path), "gateway and shop have the same certificate name")
    refused(wxauth("callers", "rotate", "gateway", cwd=tmp_path), "has no token", "certificate")
    assert callers_file(tmp_path).read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("x",), ("--role",)),
        (("x", "--role", "root"), ("'gateway', 'service', 'admin'",)),
        (("X", "--role", "service"), ("1 to 64 characters",)),
        (("admin.token", "--role", "service"), ("admin.token is what",)),
        (("x", "--role", "service", "--certificate-name", "*.internal"), ("wildcards",)),
        (("x", "--role", "service", "--certificate-name", ""), ("DNS name",)),
        (("x", "--role", "service", "--certificate-name", "10.0.0.1"), ("no IP address",)),
        (("x", "--role", "service", "--certificate-name", "a", "--output", "t"), ("--output",)),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_explained(
    tmp_path: Path, arguments: tuple[str, ...], why: tuple[str, ...]
) -> None:
    wrong_usage(wxauth("callers", "add", *arguments, cwd=tmp_path), *why)
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_taken_once(orders: Path) -> None:
    before = callers_file(orders).read_bytes()
    refused(
        wxauth(*ORDERS, "--role", "admin", cwd=orders),
        "there is a caller orders already",
        "wxauth callers rotate orders",
        "wxauth callers set-roles orders",
        "add a second caller of another name with --certificate-name, and revoke orders once",
    )
    assert callers_file(orders).read_bytes() == before


# --- Listing, help ------------------------------------------------------------


def test_what_is_listed(orders: Path) -> None:
    add = ("callers", "add", "gateway", "--role", "gateway", "--certificate-name", "gw.internal")
    said(wxauth(*add, cwd=orders))
    said(wxauth("callers", "rotate", "orders", "--output", "new.token", cwd=orders))
    gateway, rotated = listed("callers", "list", cwd=orders)
    assert (gateway["certificate_names"], gateway["tokens"]) == (["gw.internal"], [])
    assert [token["ends_at"] is None for token in rotated["tokens"]] == [False, True]
    assert (gateway["warning"], rotated["warning"]) == (None, None)

    table = done_well(wxauth("callers", "list", cwd=orders)).splitlines()
    assert re.fullmatch(r"gateway +gateway +certificate of gw\.internal +\d{4}-.*", table[1])
    assert re.search(
        r"token of [\d :-]{19}; token of [\d :-]{19}, good until [\d :-]{19}", table[2]
    )

    document = json.loads(callers_file(orders).read_text())
    for token in document["callers"][1]["tokens"]:
        token["ends"] = token["created"]
    callers_file(orders).write_text(json.dumps(document))
    _, ended = listed("callers", "list", cwd=orders)
    assert "no good token" in ended["warning"]
    assert "no good token" in done_well(wxauth("callers", "list", cwd=orders))


@pytest.mark.parametrize("command", ["", "add", "list", "rotate", "set-roles", "revoke"])
def test_help_is_good_to_read(tmp_path: Path, command: str) -> None:
    arguments = ["callers", *command.split(), "-h"]
    text = done_well(wxauth(*arguments, cwd=tmp_path, variables={"COLUMNS": "80"}))
    assert f"Usage: wxauth callers {command}".rstrip() in text
    assert max(map(len, text.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []
