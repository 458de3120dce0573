"""The dashboard, the alert rules and the monitoring page name the metrics that there are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from emulator.http.control.metrics import Held, ServerMetrics
from emulator.testing import Harness
from jobs_core.engine.handler_threads import HandlerThreads
from jobs_core.monitoring.prometheus import ProcessMetrics, Records, ThreadGauges

_DOCS = Path(__file__).parent.parent / "docs"
_METRIC = re.compile(r"\b(?:jobs_core|qstash_emulator)_[a-z_]+")


async def exposed(qstash: Harness) -> set[str]:
    """Every sample's name, and without the suffixes of a histogram."""
    records: Any = Records([], 0, 0.0)
    families = []
    for collector in (records, ThreadGauges(HandlerThreads(1)), Held(qstash.emulator, 0)):
        registry = CollectorRegistry()
        registry.register(collector)
        families += list(registry.collect())
    families += [*ProcessMetrics().registry.collect(), *ServerMetrics().registry.collect()]
    counters = {f"{family.name}_total" for family in families if family.type == "counter"}
    histograms = {family.name for family in families if family.type == "histogram"}
    gauges = {family.name for family in families if family.type == "gauge"}
    return counters | histograms | gauges | {f"{name}_bucket" for name in histograms}


@pytest.mark.parametrize("page", ["grafana/dashboard.json", "grafana/alerts.yaml"])
async def test_every_metric_that_is_asked_for_is_exposed(qstash: Harness, page: str) -> None:
    named = set(_METRIC.findall((_DOCS / page).read_text()))
    assert named
    assert named <= await exposed(qstash)


async def test_the_monitoring_page_lists_every_metric(qstash: Harness) -> None:
    table = re.findall(
        r"^\| (`(?:jobs_core|qstash_emulator)_.*?) \|", (_DOCS / "monitoring.md").read_text(), re.MULTILINE
    )
    listed = set(_METRIC.findall(" ".join(table)))
    assert listed == {name for name in await exposed(qstash) if not name.endswith("_bucket")}


def test_the_dashboard_and_the_rules_are_well_formed() -> None:
    dashboard = json.loads((_DOCS / "grafana" / "dashboard.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    rules = [
        rule
        for group in yaml.safe_load((_DOCS / "grafana" / "alerts.yaml").read_text())["groups"]
        for rule in group["rules"]
    ]
    assert all({"alert", "expr", "labels", "annotations"} <= set(rule) for rule in rules)
