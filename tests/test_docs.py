"""The documentation says what the code says."""

import re
from pathlib import Path
from typing import Any

from emulator.broker.transitions import TRANSITIONS
from emulator.settings import Settings as EmulatorSettings
from jobs_core import Registry
from jobs_core import Settings as JobsSettings

_ROOT = Path(__file__).parent.parent


def test_the_state_table_is_the_codes_own() -> None:
    text = (_ROOT / "docs" / "architecture.md").read_text()
    told = {
        tuple(row) for row in re.findall(r"^\| `([A-Z]+)` \| (.+?) \| `([A-Z]+)` \|$", text, re.MULTILINE)
    }
    meant = {
        (state.value, event.value, after.value)
        for state, moves in TRANSITIONS.items()
        for event, after in moves.items()
    }
    assert told == meant


def test_relative_links_lead_somewhere() -> None:
    for page in [_ROOT / "README.md", *(_ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readmes_test_runs(pytester) -> None:
    [code] = re.findall(r"```python\n(.+?)```", (_ROOT / "README.md").read_text(), re.DOTALL)
    pytester.makepyfile(code)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=1)


def test_every_setting_is_on_the_configuration_page() -> None:
    """``./scripts/configuration-page`` writes it anew."""
    page = (_ROOT / "docs" / "configuration.md").read_text()
    for prefix, settings in (("QSTASH_EMULATOR_", EmulatorSettings), ("", JobsSettings)):
        for name, field in settings.model_fields.items():
            assert f"| `{prefix}{name.upper()}` | {field.description} |" in page


def test_the_job_type_of_the_guide_runs() -> None:
    blocks = re.findall(r"```python\n(.+?)```", (_ROOT / "docs" / "jobs.md").read_text(), re.DOTALL)
    [code] = [block for block in blocks if "resize-image" in block]
    namespace: dict[str, Any] = {"__name__": "guide"}
    exec(code, namespace)
    registry = Registry([namespace["resize_image"]])
    assert [definition.job_type for definition in registry] == ["resize-image"]
