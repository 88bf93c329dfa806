"""Every command's help, its wrong usage, and that it reads the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wxauth_command import done_well, refused, wxauth

COMMANDS = (
    ("serve",),
    ("gateway",),
    ("sandbox",),
    ("dev",),
    ("accounts", "add"),
    ("accounts", "list"),
    ("accounts", "set-password"),
    ("accounts", "set-phone"),
    ("accounts", "set-username"),
    ("accounts", "show"),
    ("accounts", "unlock"),
    ("accounts", "import"),
    ("accounts", "disable"),
    ("accounts", "enable"),
    ("bindings", "list"),
    ("bindings", "end"),
    ("sessions", "list"),
    ("sessions", "end"),
    ("audit", "tail"),
    ("audit", "export"),
    ("migrate",),
    ("copy",),
    ("keys", "init"),
    ("keys", "add"),
    ("keys", "activate"),
    ("keys", "retire"),
    ("keys", "list"),
    ("callers", "add"),
    ("callers", "list"),
    ("callers", "rotate"),
    ("callers", "set-roles"),
    ("callers", "revoke"),
    # Not of the configuration: one reads none, the other's findings are about it.
    ("dev-ca",),
    ("doctor",),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_has_help(tmp_path: Path, command: tuple[str, ...]) -> None:
    said = done_well(wxauth(*command, "-h", cwd=tmp_path))
    assert f"Usage: wxauth {' '.join(command)}" in said
    assert list(tmp_path.iterdir()) == []


def test_the_help_lists_every_command(tmp_path: Path) -> None:
    said = done_well(wxauth("-h", cwd=tmp_path))
    assert said == done_well(wxauth("--help", cwd=tmp_path))
    assert all(command[0] in said for command in COMMANDS)


def test_the_version(tmp_path: Path) -> None:
    assert done_well(wxauth("--version", cwd=tmp_path)).startswith("wxauth ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("serve", "--nonsense"),
        ("accounts", "add"),
        ("accounts", "add", "x", "--password-stdin", "--no-password"),
        ("accounts", "disable"),
        ("accounts", "disable", "zhangsan", "--id", "1"),
        ("accounts", "set-password", "x", "--password-stdin", "--hash-stdin"),
        ("accounts", "add", "x", "--hash-stdin", "--no-password"),
        ("accounts", "show"),
        ("accounts", "show", "x", "--source", "crm"),
        ("accounts", "set-username", "x"),
        ("accounts", "unlock"),
        ("accounts", "set-phone", "--none"),
        ("accounts", "set-phone", "x"),
        ("accounts", "set-phone", "x", "--verified"),
        ("accounts", "set-phone", "x", "--phone", "+8613800138000", "--none"),
        ("accounts", "set-phone", "x", "--none", "--verified"),
        ("keys", "add"),
        ("keys", "add", "nonsense"),
        ("keys", "retire"),
        ("bindings", "list", "--limit", "0"),
        ("bindings", "list", "--openid", "o"),
        ("bindings", "list", "--account", "x", "--account-id", "1"),
        ("bindings", "list", "--source", "crm"),
        ("bindings", "end", "wx1"),
        ("sessions", "end"),
        ("sessions", "end", "x", "--app", "wx1"),
        ("sessions", "end", "x", "--yes"),
        ("sessions", "end", "--account", "x", "--app", "wx1"),
        ("sessions", "list", "--token-file", "x"),
        ("sessions", "list", "--app", ""),
        ("sessions", "list", "--account", ""),
        ("sessions", "list", "--account-id", ""),
        ("sessions", "list", "--account-id", "1", "--source", ""),
        ("sessions", "end", "--app", "", "--yes"),
        ("bindings", "list", "--app", ""),
        ("bindings", "list", "--app", "wx1", "--openid", ""),
        ("accounts", "list", "--source", ""),
        ("accounts", "disable", "--source", "", "--id", "1"),
        ("accounts", "unlock", "x", "--source", ""),
        ("audit", "tail", "--app", ""),
        ("audit", "tail", "--app", "wx1", "--openid", ""),
        ("audit", "export", "--account", ""),
        ("audit", "export", "--account-id", ""),
        ("audit", "export", "--account-id", "1", "--source", ""),
        ("sessions", "list", "--server", "nonsense"),
        ("sandbox", "--app", "no-colon"),
        ("sandbox", "--app", "wx1:a", "--app", "wx1:b"),
        ("sandbox", "--slow-ms", "-1"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_explained(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = wxauth(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: wxauth" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [*COMMANDS][:-2], ids=" ".join)
def test_each_command_reads_the_configuration(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "wxauth.toml").write_text("[nonsense]")
    arguments: dict[tuple[str, ...], list[str]] = {
        ("accounts", "add"): ["x", "--no-password"],
        ("accounts", "set-password"): ["x"],
        ("accounts", "set-phone"): ["x", "--none"],
        ("accounts", "disable"): ["x"],
        ("accounts", "set-username"): ["x", "--to", "y"],
        ("accounts", "enable"): ["x"],
        ("accounts", "show"): ["x"],
        ("accounts", "unlock"): ["x"],
        ("accounts", "import"): ["x.csv"],
        ("bindings", "end"): ["wx1", "o"],
        ("sessions", "end"): ["x"],
        ("copy",): ["--from", "sqlite", "--to", "postgresql"],
        ("keys", "add"): ["seal"],
        ("keys", "activate"): ["x"],
        ("keys", "retire"): ["x"],
        ("callers", "add"): ["x", "--role", "service"],
        ("callers", "rotate"): ["x"],
        ("callers", "set-roles"): ["x", "--role", "service"],
        ("callers", "revoke"): ["x"],
    }
    done = wxauth(*command, *arguments.get(command, []), cwd=tmp_path)
    refused(done, "nonsense: there is no such key")
