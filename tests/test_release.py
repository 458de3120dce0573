"""A release is held to its rules: each rule is broken on purpose, and the whole is rehearsed on what is tracked."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml

from emulator import __version__
from scripts import release

_ROOT = Path(__file__).parents[1]
_CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [1.0.0] - 2026-01-01\n\n- first\n\n- second\n"
_LOCK = f"""# a comment
a==1 \\
    --hash=sha256:{"0" * 64}
    # via b
b[c]==2 ; sys_platform == 'win32' \\
    --hash=sha256:{"1" * 64}
"""


def test_a_tag_a_version_and_a_text_that_belong_together_may_be_released() -> None:
    assert list(release.version_problems("v1.0.0", "1.0.0", "1.0.0", _CHANGELOG)) == []
    assert list(release.version_problems(None, "1.1.0", "1.1.0", _CHANGELOG)) == []
    assert release.notes(_CHANGELOG, "1.0.0") == "- first\n\n- second"


@pytest.mark.parametrize(
    ("tag", "version", "npm_version", "said"),
    [
        ("v1.0.1", "1.0.0", "1.0.0", "the tag v1.0.1 is not v1.0.0"),
        ("v1.0.0", "1.0.0", "0.9.0", "npm/package.json is of version 0.9.0"),
        ("v1.1.0", "1.1.0", "1.1.0", "CHANGELOG.md has no text for 1.1.0"),
        ("v1.0", "1.0", "1.0", "CHANGELOG.md has no text for 1.0"),
    ],
)
def test_what_does_not_belong_together_is_named(tag: str, version: str, npm_version: str, said: str) -> None:
    (problem,) = release.version_problems(tag, version, npm_version, _CHANGELOG)
    assert said in problem


def test_a_lock_whose_packages_are_pinned_and_hashed_is_right() -> None:
    assert list(release.lock_problems(_LOCK)) == []
    assert list(release.lock_problems((_ROOT / "requirements.lock").read_text())) == []


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("a==1", "a>=1", "does not pin 'a>=1'"),
        (f"    --hash=sha256:{'0' * 64}\n", "", "has no hash for 'a==1'"),
        ("# a comment", "--index-url https://example.com", "names an address"),
    ],
)
def test_a_lock_that_leaves_something_open_is_refused(was: str, becomes: str, said: str) -> None:
    assert said in " ".join(release.lock_problems(_LOCK.replace(was, becomes)))


def test_every_npm_lock_that_is_tracked_hashes_what_it_names() -> None:
    assert list(release.npm_lock_problems((_ROOT / "npm" / "package-lock.json").read_text())) == []
    open_lock = {"packages": {"": {}, "node_modules/a": {"resolved": "https://example.com/a.tgz"}}}
    assert len(list(release.npm_lock_problems(json.dumps(open_lock)))) == 2


def test_checksums_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"wheel")
    assert release.checksums([tmp_path / "a.whl"]) == f"{hashlib.sha256(b'wheel').hexdigest()}  a.whl\n"


def test_this_commit_could_be_released_but_for_its_tag() -> None:
    described = json.loads((_ROOT / "npm" / "package.json").read_text())
    changelog = (_ROOT / "CHANGELOG.md").read_text()
    assert list(release.version_problems(None, __version__, described["version"], changelog)) == []


def test_every_script_that_the_release_runs_exists_and_no_step_holds_a_secret() -> None:
    text = (_ROOT / ".github" / "workflows" / "release.yml").read_text()
    workflow = yaml.safe_load(text)
    for script in set(re.findall(r"(?:\./)?(scripts/[\w.-]+)", text)):
        assert (_ROOT / script).exists(), script
    assert workflow["permissions"] == {"contents": "read"}
    assert (
        set(re.findall(r"secrets\.(\w+)", text)) == set()
    )  # registries are told who publishes by the runner's identity
    names = workflow["jobs"]
    publishing = [name for name, job in names.items() if "environment" in job]
    assert publishing == ["publish"]
    assert set(names["publish"]["needs"]) >= {"packages", "executables"}


def test_the_newest_supported_python_is_in_the_matrix_and_the_classifiers() -> None:
    matrix = yaml.safe_load((_ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["test"][
        "strategy"
    ]["matrix"]
    described = (_ROOT / "pyproject.toml").read_text()
    assert matrix["python"] == re.findall(r'Python :: (3\.\d+)"', described)
    assert "3.14" in matrix["python"]
