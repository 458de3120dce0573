"""Settings: defaults that work, and one line for whatever does not."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from emulator.testing import Harness
from jobs_core import Environment, Settings, SettingsError
from jobs_core.engine.deployment_check import _accounts
from jobs_core.qstash.signature import Verifier
from jobs_core.settings.regions import Credentials, Region, SigningKeys
from jobs_core.webhooks.verifiers import GitHubSource, StandardSource, StripeSource

PRODUCTION = {
    "ENVIRONMENT": "production",
    "QSTASH_URL": "https://qstash.upstash.io",
    "QSTASH_TOKEN": "token",
    "QSTASH_CURRENT_SIGNING_KEY": "sig_current",
    "QSTASH_NEXT_SIGNING_KEY": "sig_next",
    "BASE_URL": "https://app.example.com",
    "DATABASE_URL": "postgresql://db/app",
    "SMTP_URL": "smtp://mail",
    "ADMIN_TOKEN": "long and random",
}


def load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


def complaint(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, **environment)
    return str(caught.value)


def test_development_needs_no_configuration() -> None:
    settings = Settings.load()
    assert settings.qstash_url == "http://127.0.0.1:8080"
    assert settings.environment is Environment.DEVELOPMENT
    assert settings.qstash_current_signing_key.get_secret_value() == "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r"


def test_a_complete_production_environment_is_accepted_without_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load(monkeypatch, **PRODUCTION).warnings() == []


def test_a_trailing_slash_of_the_base_url_is_tolerated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        load(monkeypatch, BASE_URL="https://app.example.com/jobs/").base_url == "https://app.example.com/jobs"
    )


def test_a_dotenv_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('QSTASH_TOKEN="from the file"\nUNRELATED=1\n')
    assert Settings.load().qstash_token.get_secret_value() == "from the file"


_REGIONS = {
    "QSTASH_REGION": "us-east-1",
    "US_EAST_1_QSTASH_URL": "https://qstash-us-east-1.upstash.io/",
    "US_EAST_1_QSTASH_TOKEN": "token of the second",
}


def test_the_regions_url_and_token_stand_for_the_default_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        'US_EAST_1_QSTASH_TOKEN="from the file"\nQSTASH_URL="http://127.0.0.1:1"\n'
    )
    with monkeypatch.context() as without_token:
        settings = load(
            without_token, **{name: value for name, value in _REGIONS.items() if not name.endswith("TOKEN")}
        )
    assert settings.qstash_url == "https://qstash-us-east-1.upstash.io"
    assert settings.qstash_token.get_secret_value() == "from the file"
    assert load(monkeypatch, **_REGIONS).qstash_token.get_secret_value() == "token of the second"


def test_an_emulators_environment_is_not_passed_by_for_a_region_of_an_apps_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("".join(f'{name}="{value}"\n' for name, value in _REGIONS.items()))
    assert Settings.load().qstash_token.get_secret_value() == "token of the second"
    monkeypatch.setenv("QSTASH_REGION", "EU_CENTRAL_1")
    with Harness(is_reachable=True) as qstash:
        settings = Settings.load()
        assert (settings.qstash_url, settings.qstash_region) == (qstash.url, None)
    assert os.environ["QSTASH_REGION"] == "EU_CENTRAL_1"


def test_a_region_that_a_caller_passes_is_published_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's setting JOBS_CORE is passed in this way."""
    given = {name.lower(): value for name, value in _REGIONS.items()}
    settings = Settings.load(**given)
    assert settings.qstash_url == "https://qstash-us-east-1.upstash.io"
    assert settings.qstash_token.get_secret_value() == "token of the second"
    assert Settings.load(**given, qstash_url="http://127.0.0.1:2").qstash_url == "http://127.0.0.1:2"
    eu = {
        "EU_CENTRAL_1_QSTASH_URL": "https://eu.example.com",
        "EU_CENTRAL_1_QSTASH_TOKEN": "token of the first",
    }
    load(monkeypatch, **_REGIONS, **eu)
    settings = Settings.load(qstash_region=Region.EU_CENTRAL_1)
    assert settings.qstash_url == "https://eu.example.com"
    assert settings.qstash_token.get_secret_value() == "token of the first"
    assert Settings.load(qstash_region=None).qstash_url == "http://127.0.0.1:8080"
    with Harness(is_reachable=True) as qstash:
        assert Settings.load(**given).qstash_url == qstash.url
    with pytest.raises(SettingsError, match="QSTASH_REGION: it must be EU_CENTRAL_1 or US_EAST_1"):
        Settings.load(qstash_region=5)


def test_what_a_caller_passes_wins_over_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    load(monkeypatch, **_REGIONS)
    assert Settings.load(qstash_url="http://127.0.0.1:2").qstash_url == "http://127.0.0.1:2"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"QSTASH_REGION": "ap-south-1"}, "QSTASH_REGION: it must be EU_CENTRAL_1 or US_EAST_1"),
        ({"US_EAST_1_QSTASH_NEXT_SIGNING_KEY": "sig_x"}, "US_EAST_1_QSTASH_CURRENT_SIGNING_KEY"),
        ({"EU_CENTRAL_1_QSTASH_URL": "eu.example.com"}, "EU_CENTRAL_1_QSTASH_URL: it must be"),
        (
            {
                "QSTASH_REGION": "EU_CENTRAL_1",
                "EU_CENTRAL_1_QSTASH_CURRENT_SIGNING_KEY": "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r",
                "EU_CENTRAL_1_QSTASH_NEXT_SIGNING_KEY": "sig_next",
            },
            "EU_CENTRAL_1_QSTASH_CURRENT_SIGNING_KEY is a public test user's",
        ),
        ({"QSTASH_URL": "http://localhost:8080"}, "QSTASH_URL is this machine"),
        ({"BASE_URL": "http://127.0.0.1:8000"}, "BASE_URL is this machine"),
        (
            {"QSTASH_CURRENT_SIGNING_KEY": "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r"},
            "QSTASH_CURRENT_SIGNING_KEY is a public test user's",
        ),
        (
            {"QSTASH_TOKEN": "eyJVc2VySUQiOiJkZWZhdWx0VXNlciIsIlBhc3N3b3JkIjoiZGVmYXVsdFBhc3N3b3JkIn0="},
            "QSTASH_TOKEN is not set",
        ),
        ({"RESEND_API_KEY": "re_1"}, "RESEND_FROM_EMAIL is not set"),
        ({"BASE_URL": "app.example.com"}, "BASE_URL: it must be an http:// or https:// URL"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL: it must start with"),
        ({"ENVIRONMENT": "staging"}, "ENVIRONMENT: "),
        ({"QSTASH_TOKEN": "Grüße"}, "QSTASH_TOKEN: it must be printable ASCII"),
        ({"QSTASH_TOKEN": " \n"}, "QSTASH_TOKEN: it must be printable ASCII"),
        ({"US_EAST_1_QSTASH_TOKEN": "two\nlines"}, "US_EAST_1_QSTASH_TOKEN: it must be printable ASCII"),
        (
            {"RESEND_API_KEY": "re_ü", "RESEND_FROM_EMAIL": "a@example.com"},
            "RESEND_API_KEY: it must be printable",
        ),
    ],
)
def test_what_does_not_fit_is_one_line_that_names_the_variable_and_a_source(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], named: str
) -> None:
    said = complaint(monkeypatch, **(PRODUCTION | changed))
    assert said.startswith(named)
    assert "\n" not in said


def test_the_line_end_of_a_file_is_no_part_of_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QSTASH_TOKEN", "a token of an account\n")
    assert Settings.load().qstash_token.get_secret_value() == "a token of an account"


def test_every_problem_gets_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    said = complaint(monkeypatch, ENVIRONMENT="production")
    assert [line.split()[0] for line in said.splitlines()] == [
        "QSTASH_URL",
        "BASE_URL",
        "QSTASH_TOKEN",
        "QSTASH_CURRENT_SIGNING_KEY",
        "QSTASH_NEXT_SIGNING_KEY",
    ]


def test_the_emulators_user_is_not_sent_to_the_real_service(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "QSTASH_TOKEN is not set" in complaint(
        monkeypatch, QSTASH_URL="https://qstash-eu-central-1.upstash.io"
    )


@pytest.mark.parametrize(
    ("changed", "warned"),
    [
        ({"DATABASE_URL": "sqlite:///x.db"}, "SQLite"),
        ({"BASE_URL": "http://app.example.com"}, "https"),
        ({"SMTP_URL": ""}, "RESEND_API_KEY"),
        ({"ADMIN_TOKEN": ""}, "ADMIN_TOKEN"),
    ],
)
def test_what_should_not_stay_so_in_production_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], warned: str
) -> None:
    (warning,) = load(monkeypatch, **(PRODUCTION | changed)).warnings()
    assert warned in warning


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: Any = load(monkeypatch, **PRODUCTION, RESEND_FROM_EMAIL="a@b.c", RESEND_API_KEY="re_secret")
    for secret in ("re_secret", "sig_current", "smtp://mail"):
        assert secret not in repr(settings)


def test_secrets_are_not_shown_by_the_parts_that_hold_them() -> None:
    keys = SigningKeys("sig_secret", "sig_secret", "EU_CENTRAL_1_")
    holders = (
        Credentials("https://qstash.example", "token_secret"),
        keys,
        Verifier.of(keys, 5),
        StripeSource("whsec_secret", timedelta(0)),
        GitHubSource("github_secret"),
        StandardSource("whsec_secret", timedelta(0)),
    )
    assert "secret" not in repr(holders)
    assert "token_secret" not in repr(_accounts(Settings(qstash_token=SecretStr("token_secret"))))


@pytest.mark.parametrize("name", ["QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY"])
def test_public_signing_keys_where_others_reach_the_app_are_warned_about(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Somebody forgot ENVIRONMENT: nothing is refused then, and anyone could sign."""
    reachable = PRODUCTION | {"ENVIRONMENT": "", name: ""}
    (warning,) = load(monkeypatch, **reachable).warnings()
    assert name in warning
    assert "anyone could sign" in warning
