"""The wheel's contents, the image's rules, and the recipes for other people's CI."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import yaml

from tests.bounds import HANG_SECONDS

_ROOT = Path(__file__).parent.parent


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, _ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_wheel_holds_both_packages_whole_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=_ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert script("check_wheel").problems_of(names) == []
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "emulator", "jobs_core"],
        cwd=_ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert set(tracked.stdout.split()) <= set(names)


@pytest.fixture(scope="module")
def image() -> list[list[tuple[str, str]]]:
    container = script("container_steps")
    stages: list[list[tuple[str, str]]] = container.stages(
        container.instructions((_ROOT / "Dockerfile").read_text())
    )
    return stages


def test_the_image_runs_as_nobody_special_keeps_its_data_and_says_whether_it_is_well(image: Any) -> None:
    _, running = image
    of = dict(running)
    words = [word for word, _ in running]
    assert of["USER"] not in ("root", "0")
    assert words.index("USER") < words.index("CMD")
    assert of["VOLUME"] == "/data"
    assert "/data/" in of["ENV"]
    assert "/emulator/health" in of["HEALTHCHECK"]
    assert json.loads(of["CMD"])[0] == "qstash-emulator"  # the exec form, so that signals arrive
    assert not any(word == "ADD" for stage in image for word, _ in stage)


def test_the_image_answers_to_what_compose_files_for_the_vendors_image_start(
    image: Any, tmp_path: Path
) -> None:
    """The Dockerfile's link is made beside an installed command, and the command of the page's service is run."""
    [link] = [rest for word, rest in image[0] if word == "RUN" and rest.startswith("ln ")]
    home = tmp_path / "qstash" / "bin"
    home.mkdir(parents=True)
    (home / "qstash-emulator").symlink_to(Path(sys.executable).parent / "qstash-emulator")
    subprocess.run(["sh", "-ec", link.replace("/opt", str(tmp_path))], check=True)
    page = (_ROOT / "docs" / "containers.md").read_text()
    (recipe,) = re.findall(r"```yaml vendor\n(.*?)```", page, re.DOTALL)
    command = yaml.safe_load(recipe)["services"]["qstash"]["command"].split()
    assert command == script("container_steps").VENDORS_COMMAND
    server = subprocess.Popen(
        [*command, "-port", "0"],
        env={"PATH": f"{home}:{os.environ['PATH']}", "QSTASH_EMULATOR_DB": "memory"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        said = next(line for line in server.stdout if "is running" in line)
        url = re.findall(r"http://\S+", said)[0].replace("localhost", "127.0.0.1")
        assert httpx.get(f"{url}/emulator/health", timeout=HANG_SECONDS).status_code == 200
    finally:
        server.terminate()
        server.communicate(timeout=HANG_SECONDS)


def test_the_images_bases_are_pinned_to_a_version() -> None:
    bases = re.findall(r"^FROM (\S+)", (_ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert bases
    assert all(re.search(r":\d", base) for base in bases)


def test_what_the_image_copies_is_let_through_to_the_builder(image: Any) -> None:
    building, _ = image
    copied = {name for word, rest in building if word == "COPY" for name in rest.split()[:-1]}
    allowed = {
        line[1:] for line in (_ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert copied == allowed
    assert all((_ROOT / name).exists() for name in copied)


def test_the_compose_file_has_the_emulator_the_worker_and_a_database() -> None:
    services = yaml.safe_load((_ROOT / "compose.yaml").read_text())["services"]
    assert {"qstash", "worker", "database", "migrate"} == set(services)
    worker = services["worker"]
    assert worker["environment"]["QSTASH_URL"] == "http://qstash:8080"
    assert set(worker["depends_on"]) == {"qstash", "migrate"}
    # What is published to the host is for this machine alone.
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_action_starts_an_emulator_and_hands_its_variables_on(tmp_path: Path) -> None:
    """Runs the action's own start step, with an installed command where its install step would put it."""
    action = yaml.safe_load((_ROOT / ".github" / "actions" / "emulator" / "action.yml").read_text())
    assert action["runs"]["using"] == "composite"
    start = next(step for step in action["runs"]["steps"] if step.get("id") == "start")
    home = tmp_path / "qstash-emulator" / "bin"
    home.mkdir(parents=True)
    (home / "qstash-emulator").symlink_to(Path(sys.executable).parent / "qstash-emulator")
    environment_file, output_file = tmp_path / "env", tmp_path / "output"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_ENV": str(environment_file),
        "GITHUB_OUTPUT": str(output_file),
        "PORT": "0",
        "CLOCK": "manual",
        "ARGUMENTS": "--quota free",
    }
    shell = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", start["run"]], env=environment, start_new_session=True
    )
    try:
        assert shell.wait(HANG_SECONDS) == 0
        lines = environment_file.read_text().splitlines()
        variables = dict(line.split("=", 1) for line in lines)
        assert len(variables) == 4
        url = variables["QSTASH_URL"].replace("localhost", "127.0.0.1")
        token = {"Authorization": f"Bearer {variables['QSTASH_TOKEN']}"}
        assert (
            httpx.get(f"{url}/emulator/clock", headers=token, timeout=HANG_SECONDS).json()["mode"] == "manual"
        )
        assert output_file.read_text().startswith("url=")
    finally:
        os.killpg(shell.pid, signal.SIGTERM)


def test_the_gitlab_recipe_is_yaml_and_names_the_variables() -> None:
    page = (_ROOT / "docs" / "ci.md").read_text()
    (recipe,) = re.findall(r"```yaml gitlab\n(.*?)```", page, re.DOTALL)
    job = yaml.safe_load(recipe)["test"]
    assert any("qstash-emulator" in service["name"] for service in job["services"])
    assert job["variables"]["QSTASH_URL"] == "http://qstash:8080"
