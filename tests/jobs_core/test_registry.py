"""Job types: conflicts and mistakes are found at start."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from jobs_core import (
    Cron,
    Job,
    JobDefinition,
    JobType,
    Payload,
    Registry,
    RegistryError,
    default_registry,
    job,
)


class Nothing(Payload):
    pass


def define(name: str = "a", endpoint: str = "/api/jobs/a", **changed: Any) -> JobDefinition[Nothing]:
    options: dict[str, Any] = {"retries": 3, "timeout": timedelta(seconds=1), "description": "x"} | changed

    @job(name, endpoint=endpoint, **options)
    async def handler(payload: Nothing, job: Job) -> None: ...

    return handler


def test_the_package_ships_its_job_types() -> None:
    registry = default_registry()
    for job_type in JobType:
        assert registry.get(job_type).description
    email = registry.get("send-email")
    assert (email.endpoint, email.retries, email.timeout) == ("/api/jobs/email", 3, timedelta(seconds=30))


def test_two_handlers_for_one_type_are_an_error() -> None:
    with pytest.raises(RegistryError, match=r"two handlers for job type 'a': .*define.*handler and"):
        Registry([define(), define(endpoint="/api/jobs/b")])


def test_two_types_for_one_endpoint_are_an_error() -> None:
    with pytest.raises(RegistryError, match="two job types for endpoint /api/jobs/a: 'a' and 'b'"):
        Registry([define(), define("b")])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "Send SMS"}, "lower case"),
        ({"endpoint": "api/jobs/a"}, "must be a path"),
        ({"endpoint": "/api/jobs/{id}"}, "must be a path"),
        ({"endpoint": "/api/jobs/callbacks/failure"}, "must be a path"),
        ({"retries": -1}, "from 0 to 2147483647"),
        ({"retries": 2**31}, "from 0 to 2147483647"),
        ({"retries": "3"}, "whole number from 0 to 2147483647, not '3'"),
        ({"timeout": timedelta(0)}, "timeout"),
        ({"timeout": "30s"}, "must be a timedelta, not '30s'"),
        ({"schedule": Cron("* * * * *", {"unknown": 1})}, "the schedule of 'a'"),
    ],
)
def test_a_definition_that_cannot_work_is_an_error(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(RegistryError, match=said):
        define(**changed)


def test_a_handler_without_a_payload_model_is_an_error() -> None:
    async def no_model(payload: dict[str, Any], job: Job) -> None: ...

    async def no_job(payload: Nothing) -> None: ...

    decorate: Any = job("a", endpoint="/a", retries=0, timeout=timedelta(seconds=1), description="x")
    for handler in (no_model, no_job):
        with pytest.raises(RegistryError, match="must take"):
            decorate(handler)


def test_a_payload_of_another_type_is_refused() -> None:
    class Other(BaseModel):
        pass

    with pytest.raises(Exception, match="takes a Nothing, not a Other"):
        define().parse(Other())


def test_a_new_job_type_is_one_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "myapp_jobs"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sms.py").write_text(
        """
from datetime import timedelta
from pydantic import Field
from jobs_core import Cron, Job, Payload, job

class SendSms(Payload):
    to: str = Field(pattern=r"^\\+[1-9][0-9]{1,14}$")
    text: str = Field(max_length=160)

@job("send-sms", endpoint="/api/jobs/sms", retries=3, timeout=timedelta(seconds=30), description="Send a text.")
async def send_sms(payload: SendSms, job: Job) -> None:
    pass
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry = default_registry("myapp_jobs")
    assert registry.get("send-sms").endpoint == "/api/jobs/sms"
    assert "send-email" in registry
