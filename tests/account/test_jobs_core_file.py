"""Both packages mean the same by the form: what one writes the other reads, and QStash is asked for the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from emulator.testing.server import ServerTenant
from jobs_core.cli import app as jobs_app
from jobs_core.engine.schedule_form import ComposedSchedule, form_of
from tests.account.conftest import Run

DECLARING = """
from datetime import timedelta
from jobs_core import Cron, Job, Payload, job

class Tidy(Payload):
    name: str = "Grüße, 100 %: yes"

@job("tidy", endpoint="/api/jobs/tidy", retries=0, timeout=timedelta(seconds=5), description="Tidies.",
     schedule=Cron("0 3 * * *", timezone="Europe/Berlin"))
async def tidy(payload: Tidy, job: Job) -> None: ...

@job("sweep", endpoint="/api/jobs/sweep", retries=4, timeout=timedelta(minutes=2), description="Sweeps.",
     schedule=Cron("*/5 * * * *"))
async def sweep(payload: Tidy, job: Job) -> None: ...
"""
LINES = ("cron", "destination", "body", "header", "retries", "timeout", "labels", "failureCallback", "method")


def lines_of(tenant: ServerTenant) -> list[Any]:
    """The publish options of each schedule as they were asked for, from the emulator's own store."""
    rows = tenant.call("GET", "/emulator/export")["tables"]["schedules"]
    return sorted(
        (row["id"], sorted((name.lower(), value) for name, value in yaml.safe_load(row["lines_json"])))
        for row in rows
    )


@pytest.mark.parametrize("header", ["Upstash-Queue-Name", "Upstash-Delay"])
def test_a_header_without_a_field_of_the_form_is_refused(header: str) -> None:
    composed = ComposedSchedule(
        url="http://app", cron="* * * * *", body="", headers={"Upstash-Label": "tidy", header: "x"}
    )
    with pytest.raises(ValueError, match=header):
        form_of(composed)


def test_a_job_systems_schedules_are_the_same_by_sync_and_by_file(
    run: Run, account: ServerTenant, local: ServerTenant, monkeypatch, tmp_path: Path
) -> None:
    (tmp_path / "declaring_two.py").write_text(DECLARING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("JOBS_MODULES", "declaring_two")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'jobs.db'}")
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)
    for command in (["migrate"], ["schedules", "export", "qstash.yaml"], ["schedules", "sync"]):
        done = CliRunner().invoke(jobs_app, command)
        assert done.exit_code == 0, done.output
    assert set(yaml.safe_load(Path("qstash.yaml").read_text())["schedules"]) == {
        "jobs-core.sweep",
        "jobs-core.tidy",
    }
    assert run("diff", "account", "qstash.yaml").stdout.startswith("no difference")
    run("apply", "--to", "emulator")
    asked, written = lines_of(account), lines_of(local)
    # In the emulator's own store also what no answer shows.
    for (name, options), (same_name, same_options) in zip(asked, written, strict=True):
        assert name == same_name
        retries = "upstash-failure-callback-retries"
        assert dict(options)[retries] == dict(same_options)[retries]
    views = [tenant.call("GET", "/v2/schedules") for tenant in (account, local)]
    assert [[one.get(name) for name in LINES] for one in views[0]] == [
        [one.get(name) for name in LINES] for one in views[1]
    ]
