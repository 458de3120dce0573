"""The server refuses settings that make no sense before it starts."""

from typing import Any

import pytest
import typer

from emulator.cli.serve import _shown, load_settings


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"connect_to": {"https://a.com": "nonsense"}}, "connect_to: 'nonsense': invalid URL"),
        ({"host": ""}, "host"),
        ({"now": 5}, "set clock to 'manual'"),
        ({"now": -5, "clock": "manual"}, "now"),
        ({"now": 10**15, "clock": "manual"}, "now"),
        ({"otlp_endpoint": "127.0.0.1:4318"}, "otlp_endpoint: '127.0.0.1:4318': invalid URL"),
    ],
)
def test_a_flag_that_cannot_be_meant_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        load_settings(given)
    assert words in str(refused.value)


@pytest.mark.parametrize("name", ["connect_to", "allowed_hosts"])
def test_a_variable_that_is_not_json_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"QSTASH_EMULATOR_{name.upper()}", "nonsense")
    with pytest.raises(typer.BadParameter) as refused:
        load_settings({})
    assert f'"{name}"' in str(refused.value)
    assert "expected JSON" in str(refused.value)


def test_an_empty_host_does_not_mean_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QSTASH_EMULATOR_HOST", "")
    with pytest.raises(typer.BadParameter):
        load_settings({})


def test_a_misspelt_variable_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QSTASH_EMULATOR_QUOTTA", "free")
    assert load_settings({}).quota == "lenient"
    assert "did you mean QSTASH_EMULATOR_QUOTA?" in capsys.readouterr().err


def test_a_database_is_shown_without_its_password() -> None:
    assert _shown("qstash.db") == "qstash.db"
    assert _shown("postgresql://host/name") == "postgresql://host/name"
    assert _shown("postgresql://ada:s@cr:et/@host:5432/name") == "postgresql://ada:***@host:5432/name"
