"""The recipes for Testcontainers describe the image as it is; with an engine, they run."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from emulator.settings import Settings
from emulator.testing import ServerProcess

# An engine brings networks up and down, and a browser gives up what it is loading when they change.
pytestmark = pytest.mark.xdist_group("browser")

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "containers.md").read_text()
_RECIPES = re.findall(r"```(?:python|ts testcontainers)\n(.*?)```", _PAGE, re.DOTALL)

_ASKS_THE_CONTAINER = """
import httpx


def test_it_answers(qstash_container):
    assert httpx.get(f"{qstash_container}/emulator/health").json()["clock"] == "manual"
"""


def test_the_recipes_name_the_images_port_its_settings_and_the_words_it_is_ready_with() -> None:
    assert len(_RECIPES) == 2
    (port,) = re.findall(r"^EXPOSE (\d+)$", (_ROOT / "Dockerfile").read_text(), re.MULTILINE)
    settings = {f"QSTASH_EMULATOR_{name.upper()}" for name in Settings.model_fields}
    for recipe in _RECIPES:
        assert f"({port})" in recipe
        assert set(re.findall(r"QSTASH_EMULATOR_\w+", recipe)) <= settings
        assert '"is running at"' in recipe
    with ServerProcess("--clock", "manual") as server:  # it is awaited by those words
        assert httpx.get(f"{server.url}/emulator/health").json()["clock"] == "manual"


def test_the_executables_image_keeps_the_rules_of_the_other() -> None:
    own, other = ((_ROOT / name).read_text() for name in ("Dockerfile.executable", "Dockerfile"))
    for rule in ("EXPOSE 8080", "VOLUME /data", "STOPSIGNAL SIGTERM", "QSTASH_EMULATOR_DB=/data/qstash.db"):
        assert rule in own
        assert rule in other
    assert re.search(r"^USER 10001$", own, re.MULTILINE)
    assert "HEALTHCHECK" in own


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """An engine's command, and the variables that lead Testcontainers to its socket: docker's, or one of podman's."""
    docker, podman = shutil.which("docker"), shutil.which("podman")
    if (
        docker is not None
        and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0
    ):
        yield docker, {}
        return
    if podman is None:
        pytest.skip("THE TESTCONTAINERS RECIPES NEED A CONTAINER ENGINE, which is not here")
    socket = f"unix://{tmp_path}/podman.sock"
    with subprocess.Popen([podman, "system", "service", "--time", "0", socket]) as service:
        yield podman, {"DOCKER_HOST": socket, "TESTCONTAINERS_RYUK_DISABLED": "true"}
        service.terminate()


def test_the_recipe_for_python_runs_where_there_is_an_engine(
    tmp_path: Path, engine: tuple[str, dict[str, str]]
) -> None:
    command, variables = engine
    pytest.importorskip("testcontainers.core.container", reason="needs the package testcontainers")
    image = "localhost/qstash-emulator:executable"  # what ./scripts/image leaves
    if subprocess.run([command, "image", "inspect", image], capture_output=True, check=False).returncode:
        image = "qstash-emulator"
        subprocess.run([command, "build", "--quiet", "--tag", image, "."], cwd=_ROOT, check=True)
    tried = subprocess.run(
        [command, "run", "--rm", image, "qstash-emulator", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(
            f"THE TESTCONTAINERS RECIPES: the engine runs no container: {tried.stderr.strip()[-200:]}"
        )
    (tmp_path / "conftest.py").write_text(_RECIPES[0].replace('"qstash-emulator"', f'"{image}"'))
    (tmp_path / "test_recipe.py").write_text(_ASKS_THE_CONTAINER)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_recipe.py"],
        cwd=tmp_path,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "DeprecationWarning: The wait_for_logs" not in ran.stdout
