"""The emulator or the real service: four variables, and nothing in the code that asks which."""

import ast
from pathlib import Path
from typing import Any

import httpx

import jobs_core
from emulator.testing import Harness
from jobs_core import JobDispatcher, Registry, Settings

_PACKAGE = Path(jobs_core.__file__).parent
# settings/consistency.py checks that the four variables fit together, and settings/hints.py says where to get them.
# monitoring/pages.py links a message to the page that shows it, which the vendor's console has no address for.
_KNOWING = {
    _PACKAGE / name
    for name in (
        "settings/consistency.py",
        "settings/hints.py",
        "settings/settings.py",
        "monitoring/pages.py",
    )
}
_MODULES = [path for path in _PACKAGE.rglob("*.py") if path not in _KNOWING]
_TELLING = ("upstash.io", "emulator")


def _code_strings(tree: ast.Module) -> list[str]:
    """Every string of a module but its docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def test_no_module_asks_which_of_the_two_it_talks_to() -> None:
    for module in _MODULES:
        tree = ast.parse(module.read_text())
        # The distribution that both packages come in is named for one of them.
        told = [text.replace("qstash-emulator", "") for text in _code_strings(tree)]
        found = [text for text in told for word in _TELLING if word in text.lower()]
        assert found == [], module
        assert _decisions_about_the_url(tree) == [], module


def _decisions_about_the_url(tree: ast.Module) -> list[str]:
    decided = [
        node if isinstance(node, ast.Compare | ast.Match) else node.test
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare | ast.If | ast.IfExp | ast.Match | ast.While)
    ]
    return [text for node in decided if "qstash_url" in (text := ast.unparse(node))]


def test_the_search_finds_what_it_looks_for() -> None:
    tree = ast.parse(
        "def f(s):\n    'Upstash.io'\n    if 'upstash.io' in s.qstash_url: ...\n    return 'emulator'"
    )
    assert [text for text in _code_strings(tree) if text != "f"] == ["emulator", "upstash.io"]
    assert len(_decisions_about_the_url(tree)) == 2  # the condition, and the comparison in it


async def test_the_same_requests_go_to_either(handlers: Any, database_url: str) -> None:
    """One life of a job and a schedule, with only the URL changed; the answers come from the emulator both times."""
    seen: dict[str, list[tuple[str, str, list[str]]]] = {}
    for url in ("http://127.0.0.1:8080", "https://qstash.upstash.io"):
        async with Harness() as harness:
            seen[url] = await _life(harness, handlers.registry, _settings(url, harness, database_url))
    local, real = seen.values()
    assert local == real
    assert len(real) == 6


def _settings(url: str, harness: Harness, database_url: str) -> Settings:
    # A published test user is refused beside the real URL, so the token is another tenant's name for it.
    token = harness.token if "127" in url else "token-of-an-account"
    return Settings(
        qstash_url=url, qstash_token=token, base_url="https://app.example.com", database_url=database_url
    )


async def _life(harness: Harness, registry: Registry, settings: Settings) -> list[tuple[str, str, list[str]]]:
    seen: list[tuple[str, str, list[str]]] = []
    inner = httpx.ASGITransport(harness.app)

    class Noting(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            path = request.url.raw_path.decode()
            names = sorted(name for name in request.headers if name.startswith("upstash-"))
            seen.append((request.method, path if "messages" not in path else "/v2/messages/…", names))
            request.headers["Authorization"] = f"Bearer {harness.token}"
            return await inner.handle_async_request(request)

    async with JobDispatcher(settings, registry=registry, transport=Noting()) as dispatcher:
        job_id = await dispatcher.enqueue("do-work", {}, delay=60, queue="slow", retries=1)
        await dispatcher.cancel(job_id)
        await dispatcher.schedule("do-work", "0 9 * * 1", {}, schedule_id="weekly", timezone="Europe/Berlin")
        await dispatcher.schedules.pause("weekly")
        await dispatcher.schedules.list()
        await dispatcher.client.signing_keys()
    return seen
