"""``pull`` copies an account to the laptop, and ``diff`` says how two differ; secrets stay where they are."""

import json
from pathlib import Path

import pytest
import yaml

from emulator.testing.server import ServerTenant
from tests.account.conftest import Run

REWRITE = "--rewrite=https://app.example.com=http://127.0.0.1:3000"
SECRET = "Bearer s3cr3t-of-production"


def fill(account: ServerTenant) -> None:
    """Fill an account with one of everything, odd characters included."""
    account.call("POST", "/v2/queues", {"queueName": "mails.1", "parallelism": 3, "paused": True})
    account.call(
        "POST",
        "/v2/topics/billing/endpoints",
        {
            "endpoints": [
                {"url": "https://app.example.com/a//b%2Fc?x=1&y=%20", "name": "Büro / 100 %"},
                {"url": "http://127.0.0.1:9/x"},
            ]
        },
    )
    account.call(
        "PATCH",
        "/v2/topics/billing",
        {"headers": {"Upstash-Retries": "1", "Upstash-Forward-Authorization": SECRET}},
    )
    account.call("POST", "/v2/flowControl/api%2Fv1%20%C3%BC%25/pin?parallelism=4&rate=10&period=60")
    account.call("POST", "/v2/flowControl/..%2Fup/pause")
    account.call(
        "POST",
        "/v2/schedules/https://app.example.com/a/../b//c%2Fd?q=a+b&u=%C3%BC",
        {"plan": "geheim"},
        **{
            "Upstash-Schedule-Id": "nightly.report-1",
            "Upstash-Cron": "CRON_TZ=Europe/Berlin 0 3 * * 1-5",
            "Upstash-Method": "PUT",
            "Upstash-Retries": "5",
            "Upstash-Retry-Delay": "1000 * (1 + retried)",
            "Upstash-Delay": "90s",
            "Upstash-Timeout": "30s",
            "Upstash-Forward-Authorization": SECRET,
            "Upstash-Callback": "https://app.example.com/done",
            "Upstash-Callback-Forward-X-Key": SECRET,
            "Upstash-Failure-Callback": "https://app.example.com/failed",
            "Upstash-Label": "one,two",
            "Upstash-Flow-Control-Key": "api/v1 %",
            "Upstash-Flow-Control-Value": "rate=2,period=1m",
            "Upstash-Queue-Name": "mails.1",
        },
    )
    account.call("POST", "/v2/schedules/nightly.report-1/pause")
    account.call("POST", "/v2/schedules/billing", **{"Upstash-Schedule-Id": "..", "Upstash-Cron": "@daily"})


def test_what_was_pulled_does_not_differ_until_something_changes(
    run: Run, account: ServerTenant, local: ServerTenant
) -> None:
    fill(account)
    told = run("pull", REWRITE).stdout
    assert "made schedule nightly.report-1" in told
    assert run("diff", REWRITE).stdout == "no difference\n"
    assert run("pull", REWRITE).stdout == "emulator: nothing to do\n"
    # The emulator's own view, byte for byte but for the origin.
    theirs, ours = (tenant.call("GET", "/v2/schedules/nightly.report-1") for tenant in (account, local))
    for view in (theirs, ours):
        for name in ("createdAt", "nextScheduleTime"):
            del view[name]
    assert ours == json.loads(json.dumps(theirs).replace("https://app.example.com", "http://127.0.0.1:3000"))
    local.call("PATCH", "/v2/topics/billing", {"headers": {"Upstash-Forward-Authorization": "other"}})
    local.call("DELETE", "/v2/schedules/nightly.report-1")
    local.call("POST", "/v2/flowControl/..%2Fup/resume")
    local.call("POST", "/v2/queues", {"queueName": "mails.1", "parallelism": 2, "paused": True})
    said = run("diff", REWRITE, code=1).stdout
    assert said == (
        "queue mails.1: differs\n"
        "  parallelism: 3 in account, 2 in emulator\n"
        "URL group billing: differs\n"
        "  header Upstash-Forward-Authorization differs\n"
        "  header Upstash-Retries only in account\n"
        "flow control key ../up: only in account\n"
        "schedule nightly.report-1: only in account\n"
        "4 differences\n"
    )
    run("pull", REWRITE)
    assert run("diff", REWRITE).stdout == "no difference\n"


def test_differences_are_told_field_by_field_and_without_secrets(
    run: Run, account: ServerTenant, local: ServerTenant
) -> None:
    for tenant, body, header in ((account, "geheim", SECRET), (local, "geheimer", "other")):
        tenant.call(
            "POST",
            f"/v2/schedules/https://example.com/{len(body)}?token={body}",
            body,
            **{
                "Upstash-Schedule-Id": "one",
                "Upstash-Cron": f"{len(body)} 3 * * *",
                "Upstash-Forward-X-Key": header,
                "Upstash-Timeout": f"{len(body)}s",
            },
        )
    said = run("diff", code=1).stdout
    assert said == (
        "schedule one: differs\n"
        "  cron: '6 3 * * *' in account, '8 3 * * *' in emulator\n"
        "  destination: https://example.com/6?token=*** in account, https://example.com/8?token=*** in emulator\n"
        "  header X-Key differs\n"
        "  body differs (8 bytes in account, 10 bytes in emulator)\n"
        "  timeout: 6 s in account, 8 s in emulator\n"
        "1 difference\n"
    )
    (told,) = json.loads(run("diff", "--json", code=1).stdout)["differences"]
    assert told["name"] == "one"
    assert "geheim" not in json.dumps(told)


def test_a_file_holds_no_secret_but_what_was_asked_for_by_name(
    run: Run, account: ServerTenant, tmp_path: Path
) -> None:
    fill(account)
    run("pull", "--file", "qstash.yaml")
    text = (tmp_path / "qstash.yaml").read_text()
    assert "s3cr3t" not in text
    assert "geheim" not in text
    assert "Upstash-Retries: '1'" in text  # an option, not a secret
    written = yaml.safe_load(text)
    assert written["schedules"]["nightly.report-1"]["headers"]["Authorization"] == {"withheld": True}
    assert "no difference; not compared: " in run("diff", "account", "qstash.yaml").stdout
    run("pull", "--file", "more.yaml", "--with-secrets", "authorization", "--with-secrets", "body")
    more = yaml.safe_load((tmp_path / "more.yaml").read_text())["schedules"]["nightly.report-1"]
    assert more["headers"]["Authorization"] == SECRET
    assert json.loads(more["body"]) == {"plan": "geheim"}
    assert more["callbackHeaders"]["X-Key"] == {"withheld": True}
    printed = run("pull", "--file", "-")
    assert yaml.safe_load(printed.stdout) == written
    assert "s3cr3t" not in printed.output


def test_what_an_account_redacts_is_compared_by_its_digest(
    run: Run, account: ServerTenant, tmp_path: Path
) -> None:
    account.call(
        "POST",
        "/v2/schedules/https://example.com",
        "geheim",
        **{"Upstash-Schedule-Id": "one", "Upstash-Cron": "0 3 * * *", "Upstash-Redact-Fields": "body"},
    )
    file = tmp_path / "qstash.yaml"
    wanted = {
        "cron": "0 3 * * *",
        "destination": "https://example.com",
        "redact": ["body"],
        "headers": {"Content-Type": "application/json"},
    }
    file.write_text(yaml.safe_dump({"schedules": {"one": wanted | {"body": '"geheim"'}}}))
    assert run("diff", "account", "qstash.yaml").stdout.startswith("no difference")
    file.write_text(yaml.safe_dump({"schedules": {"one": wanted | {"body": '"anders"'}}}))
    assert (
        "body differs (redacted in account, 8 bytes in qstash.yaml)"
        in run("diff", "account", "qstash.yaml", code=1).stdout
    )
    # It cannot be copied, and no digest may take its place.
    refused = run("pull", "--keep-destinations", code=1).stderr
    assert "schedule one: body is not known" in refused


def test_the_emulator_never_calls_production_unasked(
    run: Run, account: ServerTenant, local: ServerTenant
) -> None:
    fill(account)
    refused = run("pull", code=2).stderr
    assert "would call https://app.example.com:443" in refused
    assert local.call("GET", "/v2/schedules") == []
    run("pull", "--keep-destinations")
    assert len(local.call("GET", "/v2/schedules")) == 2


@pytest.mark.parametrize(
    "rule", ["https://app.example.com", "app=http://x", "https://a/b=http://x", "=", "http://a=x"]
)
def test_a_rule_that_is_none_is_named(run_alone: Run, rule: str) -> None:
    assert (
        f"--rewrite {rule!r}: expected ORIGIN=ORIGIN" in run_alone("pull", "--rewrite", rule, code=2).stderr
    )


def test_a_thousand_schedules_come_in_one_go(run: Run, account: ServerTenant, local: ServerTenant) -> None:
    lines = {"Upstash-Cron": "0 3 1 1 *", "Upstash-Schedule-Id": "s"}
    account.call("POST", "/v2/schedules/http://127.0.0.1:9/x", **lines)
    exported = account.call("GET", "/emulator/export")
    (row,) = exported["tables"]["schedules"]
    exported["tables"]["schedules"] = [row | {"id": f"s{number}"} for number in range(1000)]
    account.call("POST", "/emulator/import", exported)
    assert "1000 steps done" in run("pull").stdout
    assert run("diff").stdout == "no difference\n"
    assert len(local.call("GET", "/v2/schedules")) == 1000
