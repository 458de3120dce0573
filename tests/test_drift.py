"""``./scripts/drift`` finds what is new in the SDKs, and what is known of them is served here."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.http.app import vendor_routes
from emulator.http.routing import TargetRoute

_ROOT = Path(__file__).parent.parent
_SCRIPT = _ROOT / "scripts" / "drift.py"
_KNOWN = json.loads((_ROOT / "scripts" / "drift.json").read_text())


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Packages in the forms of the vendor's: strings in Python, arrays of a path and types in JavaScript."""
    folder = tmp_path / "packages"
    (folder / "js").mkdir(parents=True)
    (folder / "client.py").write_text(
        'http.request(path=f"/v2/queues/{name}/pause", headers={"Upstash-Retries": "1"})\nlag = answer["lag"]\n'
    )
    (folder / "js" / "client.mjs").write_text('request({ path: ["v2", "topics", name, "endpoints"] });\n')
    (folder / "js" / "client.d.ts").write_text("type Queue = {\n  parallelism: number;\n};\n")
    return folder


def _drift(packages: Path, known: Path, *arguments: str) -> tuple[int, list[str]]:
    command = [sys.executable, str(_SCRIPT), "--packages", str(packages), "--known", str(known), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout.splitlines()


def test_what_is_planted_is_found_and_what_is_known_is_not_news(packages: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    assert _drift(packages, known, "--update") == (0, [])
    found = json.loads(known.read_text())
    assert found["endpoints"] == ["/v2/queues/{}/pause", "/v2/topics/{}/endpoints"]
    assert (found["headers"], found["fields"]) == (["upstash-retries"], ["lag", "parallelism"])
    status, lines = _drift(packages, known)
    assert (status, len(lines)) == (0, 1)
    with (packages / "client.py").open("a") as file:
        file.write('http.request(path="/v2/teleport", headers={"Upstash-Warp": "9"})\n')
    (packages / "js" / "client.d.ts").write_text("type Queue = {\n  warp?: number;\n};\n")
    assert _drift(packages, known) == (
        1,
        [
            "new endpoint: /v2/teleport",
            "new header: upstash-warp",
            "new field: warp",
            "gone field: parallelism",
        ],
    )


def test_an_endpoint_of_the_published_description_that_no_rule_names_is_news(
    packages: Path, tmp_path: Path
) -> None:
    known, described = tmp_path / "known.json", tmp_path / "openapi.yaml"
    _drift(packages, known, "--update")
    described.write_text(
        "paths:\n  /v2/queues/{queueName}/pause:\n    post: {}\n  /v2/teleport/{id}:\n    get: {}\n"
    )
    assert _drift(packages, known, "--openapi", str(described)) == (
        1,
        ["new endpoint in the description: /v2/teleport/{}"],
    )


def test_every_endpoint_that_the_newest_sdks_call_is_served() -> None:
    routes = [one for one in vendor_routes() if isinstance(one, TargetRoute)]
    unserved = [
        path
        for path in _KNOWN["endpoints"]
        if not any(one.path_regex.match(path.replace("{}", "x")) for one in routes)
    ]
    # The SDKs put the rest of the path behind it by themselves.
    assert unserved == ["/v2/publish"]


def test_the_compatibility_page_says_as_of_which_versions_it_holds() -> None:
    page = (_ROOT / "docs" / "compatibility.md").read_text()
    assert f"As of {_KNOWN['as_of']}" in page
    assert [name for name, version in _KNOWN["versions"].items() if f"{name} {version}" not in page] == []


def test_it_is_looked_at_every_week() -> None:
    workflow = (_ROOT / ".github" / "workflows" / "drift.yml").read_text()
    assert re.search(r"cron: '?\"?[0-9]+ [0-9]+ \* \* [0-6]", workflow)
    assert "scripts/drift" in workflow
    assert shutil.which(str(_ROOT / "scripts" / "drift"))
