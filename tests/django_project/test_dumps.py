"""``dumpdata`` and ``loaddata`` keep jobs, as they keep all else of a project."""

import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test import LiveServerTestCase
from sqlalchemy import inspect
from test_tea_shop import WithQStash

from jobs_core.database import tables
from jobs_core.django import flush, project
from jobs_core.django.models import Job, JobAttempt, OutboxMessage
from tests.django_project import tasks
from tests.django_project.pages import OutOfLuck

_ANSWERS: tuple[Any, ...] = ("text", "7", 7, 2.5, True, None, [1, "ä"], {"a": None}, "")


def rows() -> list[list[dict[str, Any]]]:
    """All that there is; its times to the millisecond, which is as far as Django's JSON goes."""
    found = [list(model.objects.order_by("id").values()) for model in (Job, JobAttempt, OutboxMessage)]
    return [[{name: _short(value) for name, value in row.items()} for row in each] for each in found]


def _short(value: Any) -> Any:
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value


def test_the_models_have_every_column_of_their_tables() -> None:
    for model, table in (
        (Job, tables.JobExecution),
        (JobAttempt, tables.JobAttempt),
        (OutboxMessage, tables.OutboxMessage),
    ):
        fields = {field.column: field.null for field in model._meta.fields}
        assert fields == {name: bool(column.nullable) for name, column in inspect(table).c.items()}


class TestDumps(WithQStash, LiveServerTestCase):
    def setUp(self) -> None:
        overriding = self.settings_with(self.live_server_url)
        overriding.enable()
        self.addCleanup(overriding.disable)

    def test_jobs_are_the_same_after_a_dump_and_a_load_and_what_waits_is_published(self) -> None:
        results = [tasks.answer.enqueue(value) for value in _ANSWERS]
        flush()
        self.qstash.run_until_idle()
        waiting = self.committed_and_not_published()
        before = rows()
        assert OutboxMessage.objects.get().job_id == waiting.id

        with tempfile.TemporaryDirectory() as folder:
            dump = Path(folder) / "dump.json"
            call_command("dumpdata", "jobs_core", output=str(dump), verbosity=0)
            assert len(json.loads(dump.read_text())) == sum(map(len, before))
            call_command("flush", interactive=False, verbosity=0)
            assert not Job.objects.exists()
            call_command("loaddata", str(dump), verbosity=0)

        assert rows() == before
        for value, result in zip(_ANSWERS, results, strict=True):
            result.refresh()
            assert result.return_value == value
        flush()
        self.qstash.run_until_idle()
        waiting.refresh()
        assert waiting.return_value == "waited"

    def committed_and_not_published(self) -> Any:
        """Written by a process that had no time for more."""
        project.close()

        def fail() -> None:
            raise OutOfLuck

        with pytest.raises(OutOfLuck), transaction.atomic():
            transaction.on_commit(fail)  # ours comes after it, and is not called
            result = tasks.answer.enqueue("waited")
        project.close()
        return result
