"""The borders of the parts, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "server" / "wxauth_server"
SANDBOX = ROOT / "server" / "wechat_sandbox"
GATEWAY = ROOT / "clients" / "gateway" / "wxauth_gateway"
CLIENT = ROOT / "clients" / "python" / "wxauth_client"

#: What reads or writes JSON Web Tokens. A SessionId is opaque.
JWT_LIBRARIES = {"jwt", "jose", "authlib", "jwcrypto", "joserfc", "python_jwt"}
DRAWERS_FOR_EVERYTHING = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "tools"}


def sources(*parts: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Every module of these parts."""
    for part in parts:
        for path in files(part):
            yield path.relative_to(ROOT), parsed(path)


@cache
def files(part: Path) -> list[Path]:
    found = sorted(part.rglob("*.py"))
    assert found, f"{part} is empty: the rule would hold for nothing"
    return found


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


@cache
def nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree))


@cache
def imports(tree: ast.Module) -> frozenset[str]:
    """Every module that is imported, wherever in the code; names of `from` too."""
    found: set[str] = set()
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module is not None
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def importers(*parts: Path, of: set[str], allowed: tuple[Path, ...] = ()) -> list[str]:
    """The modules that import one of these packages, but for those that may."""
    return [
        str(path)
        for path, tree in sources(*parts)
        if not any((ROOT / path).is_relative_to(place) for place in allowed)
        and any(
            name == package or name.startswith(f"{package}.")
            for package in of
            for name in imports(tree)
        )
    ]


@cache
def attributes(tree: ast.Module) -> frozenset[str]:
    """Every `….attribute`, as it is written."""
    return frozenset(ast.unparse(node) for node in nodes(tree) if isinstance(node, ast.Attribute))


@cache
def called(tree: ast.Module) -> frozenset[str]:
    """Every `….function` that is called."""
    return frozenset(
        ast.unparse(node.func)
        for node in nodes(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    )


def calls(tree: ast.Module, function: str) -> bool:
    """Whether `….function(…)` is called."""
    return any(name.endswith(function) for name in called(tree))


def test_transport_is_in_one_place() -> None:
    """design.md section 2: nothing below the rpc layer imports grpc."""
    allowed = (SERVER / "rpc", SERVER / "cli")
    assert importers(SERVER, of={"grpc", "grpc_status"}, allowed=allowed) == []
    assert importers(SERVER / "rpc", of={"grpc"}), "the rule sees what it looks for"


def test_one_place_ends_a_call() -> None:
    """F3: an abort that nobody awaits lets the handler run on."""
    found = [str(path) for path, tree in sources(SERVER) if calls(tree, "context.abort")]
    assert found == ["server/wxauth_server/rpc/status.py"]
    other_ways = [
        str(path)
        for path, tree in sources(SERVER)
        if calls(tree, ".abort_with_status") or calls(tree, "context.set_code")
    ]
    assert other_ways == []


def test_no_interceptor() -> None:
    """Another engine can serve the same servicers only without."""
    names = {"grpc.ServerInterceptor", "grpc.aio.ServerInterceptor"}
    for path, tree in sources(SERVER):
        assert not attributes(tree) & names, path


def test_the_gateway_knows_the_client_only() -> None:
    assert importers(GATEWAY, of={"wxauth_server", "wxauth.v1", "wechat_sandbox", "sqlite3"}) == []


def test_the_client_knows_no_server() -> None:
    assert importers(CLIENT, of={"wxauth_server", "wxauth_gateway", "wechat_sandbox"}) == []


def test_the_sandbox_knows_no_server() -> None:
    """It is WeChat: what it shares with us it would get wrong with us."""
    assert importers(SANDBOX, of={"wxauth_server", "wxauth_client", "wxauth", "grpc"}) == []


def test_no_product_code_imports_tests() -> None:
    assert importers(SERVER, SANDBOX, GATEWAY, CLIENT, of={"tests", "pytest", "hypothesis"}) == []


def test_connections_come_from_one_factory() -> None:
    """Row 3: settings are by connection, so one made elsewhere has none of them.

    A database of another system, which accounts are imported from, must not get ours;
    nor may one that is only inspected, as setting them writes.
    """
    ours = SERVER / "store" / "sqlite.py"
    inspected = SERVER / "store" / "inspection.py"
    theirs = SERVER / "accounts" / "imports" / "import_sqlite.py"
    found = [
        str(path)
        for path, tree in sources(SERVER, GATEWAY, CLIENT)
        if calls(tree, "sqlite3.connect") or "sqlite3.connect" in imports(tree)
    ]
    assert found == sorted(str(path.relative_to(ROOT)) for path in (ours, inspected, theirs))
    allowed = (ours, inspected, theirs, SERVER / "store" / "sqlite_errors.py")
    assert importers(SERVER, of={"sqlite3", "sqlite_utils"}, allowed=allowed) == []


@pytest.mark.parametrize("library", ["random", "uuid"])
def test_secrets_are_the_only_source_of_chance(library: str) -> None:
    """Row 28. A jitter may be drawn elsewhere; what the server issues may not."""
    issuers = [SERVER / "auth", SERVER / "accounts", SERVER / "store"]
    assert importers(*issuers, of={library}) == []


def test_sessions_are_no_json_web_tokens() -> None:
    assert importers(SERVER, SANDBOX, GATEWAY, CLIENT, of=JWT_LIBRARIES) == []


def test_wechat_is_not_called_with_what_logs_secrets() -> None:
    """F2: httpx logs every URL with the AppSecret in it."""
    assert importers(SERVER, of={"httpx", "aiohttp", "urllib.request"}) == []


def test_every_module_has_an_honest_name() -> None:
    parts = [SERVER, SANDBOX, GATEWAY, CLIENT, ROOT / "tests"]
    paths = [path.relative_to(ROOT) for part in parts for path in files(part)]
    found = [
        str(path)
        for path in paths
        if {part.removesuffix(".py").strip("_") for part in path.parts} & DRAWERS_FOR_EVERYTHING
    ]
    assert found == []


def test_every_module_says_what_lives_in_it() -> None:
    """style.md section 5: in its first line."""
    silent = [
        str(path)
        for path, tree in sources(SERVER, SANDBOX, GATEWAY, CLIENT)
        if tree.body and ast.get_docstring(tree) is None
    ]
    assert silent == []
