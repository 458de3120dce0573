"""Render every e-mail and report to pictures for review: light, dark, 320 px and 800 px wide."""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import create_engine

from jobs_core.billing.tables import subscriptions
from jobs_core.database import migrations
from jobs_core.database.tables import executions
from jobs_core.emails.catalog import TEMPLATES, Brand
from jobs_core.emails.previews import preview
from jobs_core.reports import kinds
from jobs_core.reports.html_json import render_report
from jobs_core.reports.model import Period, Report

WIDTHS = (320, 800)
SCHEMES = ("light", "dark")
START = datetime(2026, 5, 1, tzinfo=UTC)
PERIOD = Period(START, START + timedelta(days=31))


def sample_reports(folder: Path) -> list[Report]:
    """Return one report of each kind, over a month of invented data."""
    url = f"sqlite:///{folder}/jobs.db"
    migrations.upgrade(url)
    engine = create_engine(url)
    chance = random.Random(7)
    with engine.begin() as connection:
        connection.execute(executions.insert(), [_execution(number, chance) for number in range(3000)])
        connection.execute(subscriptions.insert(), [_subscription(number, chance) for number in range(120)])
    now = PERIOD.end + timedelta(hours=9)
    with engine.connect() as connection:
        return [
            kinds.build(connection, kinds.Request(kind, PERIOD, None, "Acme", now))
            for kind in ("analytics", "usage", "billing", "custom")
        ]


def _execution(number: int, chance: random.Random) -> dict[str, Any]:
    types = ("send-email", "create-notification", "process-stripe-webhook", "export-data", "generate-report")
    status = chance.choices(("completed", "failed", "cancelled", "pending"), (95, 3, 1, 1))[0]
    at = START + timedelta(days=chance.triangular(0, 31, 24))
    ended = at + timedelta(seconds=chance.lognormvariate(-1.5, 1))
    is_over = status != "pending"
    return {
        "job_id": f"job-{number}", "job_type": chance.choices(types, (60, 25, 9, 4, 2))[0], "status": status,
        "payload": {}, "options": {}, "retry_count": int(status == "failed"), "max_retries": 3,
        "attempt_count": 1, "run": 0, "user_id": chance.randrange(60),
        "organization_id": chance.choice(("acme", "analytical-engines", "northwind-traders-international", None)),
        "started_at": at if is_over else None, "completed_at": ended if is_over else None,
        "created_at": at, "updated_at": at,
    }  # fmt: skip


def _subscription(number: int, chance: random.Random) -> dict[str, Any]:
    plan, amount = chance.choice((("Starter", 900), ("Team", 3000), ("Business", 12_900)))
    started = START - timedelta(days=200) + timedelta(days=chance.randrange(230))
    is_over = chance.random() < 0.15
    return {
        "subscription_id": f"sub-{number}", "customer_id": f"cus-{number}", "plan_name": plan, "amount": amount,
        "status": "canceled" if is_over else "active", "currency": chance.choices(("usd", "eur"), (3, 1))[0],
        "interval": chance.choices(("month", "year"), (4, 1))[0], "interval_count": 1,
        "cancel_at_period_end": False, "started_at": started,
        "ended_at": started + timedelta(days=chance.randrange(20, 200)) if is_over else None,
        "state_rank": 0, "state_event_id": "", "payment_rank": 0, "payment_event_id": "",
        "payment_status": chance.choices(("paid", "failed"), (19, 1))[0], "created_at": START, "updated_at": START,
    }  # fmt: skip


def photograph(browser: Browser, html: str, name: str, folder: Path) -> None:
    """Take a picture for each width and colour scheme. Print a warning if the page is wider than the window."""
    for scheme in SCHEMES:
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": 600}, color_scheme=scheme)  # type: ignore[arg-type]
            page.set_content(html)
            overflow = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            if overflow > 0:
                print(f"{name}: {overflow} px wider than {width} px", file=sys.stderr)
            page.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=True)
            page.close()


def photograph_pdf(content: bytes, name: str, folder: Path) -> None:
    """Take a picture of each page, where pdftoppm is installed."""
    path = folder / f"{name}.pdf"
    path.write_bytes(content)
    if shutil.which("pdftoppm"):
        subprocess.run(["pdftoppm", "-png", "-r", "70", path, folder / f"{name}-page"], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./scripts/pictures", description=__doc__)
    parser.add_argument(
        "--to", type=Path, default=Path("var/pictures"), help="folder (default: var/pictures)"
    )
    parser.add_argument("--only", default="", help="only pictures whose name contains this")
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("pictures: no chromium here; install it, or name it in CHROMIUM", file=sys.stderr)
        return 1
    options.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        reports = sample_reports(Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium)
        for name in TEMPLATES:
            if options.only in f"mail-{name}":
                photograph(browser, preview(name, Brand("Acme")).html, f"mail-{name}", options.to)
        for report in reports:
            name = f"report-{report.kind}"
            if options.only not in name:
                continue
            photograph(browser, render_report(report, "html").decode(), name, options.to)
            photograph_pdf(render_report(report, "pdf"), name, options.to)
            (options.to / f"{name}.json").write_bytes(render_report(report, "json"))
        browser.close()
    print(f"{len(list(options.to.glob('*.png')))} pictures in {options.to}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
