"""The tools: names, arguments, answers. Times are ISO 8601 in UTC unless their names say ms."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field

from emulator.mcp.api import Api, ApiError
from emulator.wire.json_text import is_json

Json = dict[str, Any]

MessageId = Annotated[str, Field(min_length=1, description="msg_…")]
RunId = Annotated[str, Field(min_length=1, description="wfr_…")]
ScheduleId = Annotated[str, Field(min_length=1, description="As it was given, or scd_….")]
Limit = Annotated[int, Field(ge=1, le=200, description="Largest number of entries, newest first.")]


class Tools:
    """One tenant's tools."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def explain_message(self, message_id: MessageId) -> Json:
        """Explain what happened to a message and why: its state, each attempt with the answer's text, what it waits for
        and until when, what to do, and whether it is in the dead letter queue."""
        story = await self._api.call("GET", f"/emulator/messages/{_part(message_id)}")
        message, summary = story["message"], story["summary"]
        return _present(
            {
                "messageId": message["messageId"],
                "state": summary["state"],
                "explanation": _explanation(story["outcome"]),
                "waitsFor": story.get("waitsFor"),
                "waitsUntil": _moment(story.get("waitsUntil")),
                "destination": f"{message['method']} {message['url']}",
                "body": message.get("body"),
                "createdAt": _moment(message["createdAt"]),
                "retries": f"{summary['retried']} of {message['maxRetries']}",
                "queue": message.get("queueName"),
                "scheduleId": message.get("scheduleId"),
                "labels": summary.get("labels"),
                "dlqId": story.get("dlqId"),
                "attempts": [_attempt(one) for one in story["attempts"]],
                "callbacks": [_row(one) for one in story["callbacks"]],
            }
        )

    async def explain_run(self, run_id: RunId) -> Json:
        """Explain what happened to a Workflow run and why: its state, each step, the failed attempts with the answers'
        texts, what a step waits for, and what to do."""
        story = await self._api.call("GET", f"/emulator/runs/{_part(run_id)}")
        summary = story["summary"]
        return _present(
            {
                "runId": summary["runId"],
                "state": summary["state"],
                "explanation": _explanation(summary["outcome"]),
                "step": summary["outcome"].get("step"),
                "workflow": summary["url"],
                "createdAt": _moment(summary["createdAt"]),
                "endedAt": _moment(summary["endedAt"]),
                "isInDeadLetterQueue": story["isInDlq"],
                "steps": [_step(bar) for bar in story["bars"]],
            }
        )

    async def explain_schedule(self, schedule_id: ScheduleId) -> Json:
        """Explain a schedule: its cron line and zone, whether it is paused, when it fires next, and the states of the
        messages of its latest firings with the reasons."""
        one = await self._api.call("GET", f"/emulator/schedules/{_part(schedule_id)}")
        schedule = one["schedule"]
        return _present(
            {
                "scheduleId": schedule["scheduleId"],
                "cron": schedule["cron"],
                "zone": one["zone"],
                "isPaused": schedule["isPaused"],
                "destination": f"{schedule['method']} {schedule['destination']}",
                "lastError": schedule.get("error"),
                "nextFirings": [_moment(at) for at in one["firings"][:5]],
                "latest": [_row(row) for row in one["history"][:10]],
            }
        )

    async def list_messages(
        self,
        state: Annotated[
            str | None,
            Field(description="CREATED, ACTIVE, RETRY, DELIVERED, FAILED, CANCELED; several by commas."),
        ] = None,
        destination: Annotated[str | None, Field(description="Part of the destination's URL.")] = None,
        queue: str | None = None,
        label: str | None = None,
        text: Annotated[str | None, Field(description="Part of an id, URL, label or body.")] = None,
        limit: Limit = 20,
    ) -> Json:
        """List messages, newest first, each with its state and the reason."""
        found = await self._api.call(
            "GET",
            "/emulator/messages",
            params={
                "state": state, "url": destination, "queueName": queue, "label": label, "text": text, "count": limit,
            },
        )  # fmt: skip
        return {"messages": [_row(one) for one in found["messages"]], "total": found["total"]}

    async def list_runs(
        self,
        state: Annotated[
            str | None,
            Field(description="RUN_STARTED, RUN_SUCCESS, RUN_FAILED, RUN_CANCELED; several by commas."),
        ] = None,
        label: str | None = None,
    ) -> Json:
        """List Workflow runs, the newest hundred, each with its state and the reason."""
        found = await self._api.call("GET", "/emulator/runs", params={"state": state, "label": label})
        return {"runs": [_run_row(one) for one in found["runs"]]}

    async def list_schedules(self) -> Json:
        """List all schedules, the next to fire first."""
        found = await self._api.call("GET", "/emulator/schedules")
        rows = [
            {
                "scheduleId": one["schedule"]["scheduleId"],
                "cron": one["schedule"]["cron"],
                "destination": one["schedule"]["destination"],
                "isPaused": one["schedule"]["isPaused"],
                "nextAt": _moment(one["schedule"].get("nextScheduleTime")),
            }
            for one in found["schedules"]
        ]
        return {"schedules": rows}

    async def list_dead_letters(self, limit: Limit = 20) -> Json:
        """List failed messages and Workflow runs in the dead letter queue, each with the reason."""
        letters = await self._api.call("GET", "/v2/dlq", params={"count": min(limit, 100)})
        runs = await self._api.call("GET", "/v2/workflows/dlq", params={"count": min(limit, 100)})
        messages = []
        for one in letters["messages"]:
            story = await self._api.call("GET", f"/emulator/messages/{_part(one['messageId'])}")
            messages.append(
                {"dlqId": one["dlqId"], **_row({**story["summary"], "outcome": story["outcome"]})}
            )
        failed = []
        for one in runs["messages"]:
            path = f"/emulator/runs/{_part(one['workflowRunId'])}"
            story = await self._api.call("GET", path, params={"createdAt": one["workflowCreatedAt"]})
            failed.append({"dlqId": one["dlqId"], **_run_row(story["summary"])})
        return {"messages": messages, "runs": failed}

    async def publish(
        self,
        destination: Annotated[str, Field(description="A URL, or the name of a URL group.")],
        body: Annotated[str, Field(description="The body as text; JSON is sent as application/json.")] = "",
        delay: Annotated[str | None, Field(description="A duration such as 10s or 1d2h.")] = None,
        retries: Annotated[
            int | None, Field(ge=0, description="Retries of a failure; 3 if not given.")
        ] = None,
        queue: Annotated[str | None, Field(description="Enqueue to this queue.")] = None,
        label: str | None = None,
        headers: Annotated[
            dict[str, str] | None,
            Field(
                description="Any other header of QStash, such as Upstash-Callback or Upstash-Forward-X-Mine."
            ),
        ] = None,
    ) -> Json:
        """Publish a message, or enqueue it. Returns its id; explain_message shows its progress."""
        lines = {
            "Content-Type": "application/json" if is_json(body) else "text/plain",
            "Upstash-Delay": delay,
            "Upstash-Retries": None if retries is None else str(retries),
            "Upstash-Label": label,
            **(headers or {}),
        }
        path = f"/v2/enqueue/{_part(queue)}/{destination}" if queue else f"/v2/publish/{destination}"
        answer = await self._api.call(
            "POST",
            path,
            content=body,
            headers={name: value for name, value in lines.items() if value is not None},
        )
        return {"accepted": answer if isinstance(answer, list) else [answer]}

    async def run_schedule_now(self, schedule_id: ScheduleId) -> Json:
        """Publish a schedule's message now; its next time stays the same."""
        answer: Json = await self._api.call("POST", f"/emulator/schedules/{_part(schedule_id)}/run-now")
        return answer

    async def retry_message(self, message_id: MessageId) -> Json:
        """Deliver a message now: a waiting message is made due, one in the dead letter queue is published again
        with a new id, which is returned."""
        story = await self._api.call("GET", f"/emulator/messages/{_part(message_id)}")
        if story.get("dlqId"):
            answer = await self._api.call("POST", f"/v2/dlq/retry/{_part(story['dlqId'])}")
            return {"publishedAnew": answer}
        answer = await self._api.call("POST", f"/emulator/messages/{_part(message_id)}/retry-now")
        return {"dueNow": answer["messageId"]}

    async def retry_run(
        self,
        run_id: RunId,
        how: Annotated[
            Literal["resume", "restart"],
            Field(description="resume continues at the failed step; restart begins again."),
        ] = "resume",
    ) -> Json:
        """Resume or restart a failed Workflow run, as a new run whose id is returned."""
        found = await self._api.call("GET", "/v2/workflows/dlq", params={"workflowRunId": run_id})
        if not found["messages"]:
            raise ApiError(f"run {run_id} is not in the dead letter queue; explain_run shows its state")
        dlq_id = found["messages"][0]["dlqId"]
        answer: Json = await self._api.call("POST", f"/v2/workflows/dlq/{how}/{_part(dlq_id)}")
        return answer

    async def rerun_from_step(
        self,
        run_id: RunId,
        from_step: Annotated[
            int | str, Field(description="The first step to repeat: number from 1, or name.")
        ],
        payload: Annotated[str | None, Field(description="Another initial payload, as text.")] = None,
    ) -> Json:
        """Start an ended Workflow run again from one of its steps, as a new run whose id is returned. The results
        before that step are kept, and those steps do not run again."""
        answer: Json = await self._api.call(
            "POST",
            f"/emulator/runs/{_part(run_id)}/rerun",
            json=_present({"fromStep": from_step, "input": payload}),
        )
        return answer

    async def cancel_message(self, message_id: MessageId) -> Json:
        """Cancel an unfinished message."""
        await self._api.call("DELETE", f"/v2/messages/{_part(message_id)}")
        return {"cancelled": message_id}

    async def cancel_run(self, run_id: RunId) -> Json:
        """Cancel a Workflow run that is under way."""
        await self._api.call("DELETE", f"/v2/workflows/runs/{_part(run_id)}")
        return {"cancelled": run_id}

    async def get_clock(self) -> Json:
        """Return the emulator's time, whether its clock is manual, and when something is due next."""
        return _clock(await self._api.call("GET", "/emulator/clock"))

    async def advance_clock(
        self, by: Annotated[str, Field(description="A duration such as 30s or 24h.")]
    ) -> Json:
        """Advance a manual clock. Returns when everything that fell due has happened."""
        return _clock(await self._api.call("POST", "/emulator/clock/advance", json={"by": by}))

    async def run_until_idle(
        self, limit: Annotated[str, Field(description="Advance the clock by no more than this.")] = "30d"
    ) -> Json:
        """Advance a manual clock until no message is pending."""
        return _clock(await self._api.call("POST", "/emulator/clock/run-until-idle", json={"limit": limit}))

    async def inject_fault(
        self,
        fault: Annotated[
            Json,
            Field(
                description='Such as {"kind": "answer", "status": 503, "count": 2, "destination": "http://…*"}, or of '
                "kind refuse, drop, delay, time-out, cut-response, wrong-signature, deliver-twice, publish-answer."
            ),
        ],
    ) -> Json:
        """Inject a fault for the next deliveries or publishes that match."""
        answer: Json = await self._api.call("POST", "/emulator/faults", json=fault)
        return answer

    async def clear_faults(self) -> Json:
        """Remove all faults. Returns those that were in force, with how often each struck."""
        found: Json = await self._api.call("GET", "/emulator/faults")
        await self._api.call("DELETE", "/emulator/faults")
        return found

    async def reset(self) -> Json:
        """Delete this tenant's messages, schedules, queues, runs and faults. This cannot be undone."""
        await self._api.call("POST", "/emulator/reset")
        return {"reset": True}


def _part(text: str) -> str:
    """Return a text as one segment of a path."""
    return quote(text, safe="")


def _moment(at: int | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")


def _present(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _explanation(outcome: Json) -> str:
    next_at = _moment(outcome.get("nextAt"))
    words: str = outcome["sentence"]
    return f"{words}; next at {next_at}" if next_at else words


def _row(one: Json) -> Json:
    return _present(
        {
            "messageId": one["messageId"],
            "state": one["state"],
            "explanation": _explanation(one["outcome"]) if "outcome" in one else None,
            "destination": f"{one['method']} {one['url']}",
            "createdAt": _moment(one["createdAt"]),
            "queue": one.get("queueName"),
            "scheduleId": one.get("scheduleId"),
            "labels": one.get("labels"),
        }
    )


def _run_row(one: Json) -> Json:
    return _present(
        {
            "runId": one["runId"],
            "state": one["state"],
            "explanation": _explanation(one["outcome"]),
            "workflow": one["url"],
            "createdAt": _moment(one["createdAt"]),
            "labels": one["labels"] or None,
        }
    )


def _attempt(one: Json) -> Json:
    response, following = one.get("response") or {}, one.get("next")
    return _present(
        {
            "number": one["number"],
            "outcome": one["outcome"] or "under way",
            "startedAt": _moment(one["startedAt"]),
            "tookMs": one["endedAt"] - one["startedAt"] if "endedAt" in one else None,
            "status": response.get("status"),
            "reason": one.get("reason"),
            "body": response.get("body", "")[:2_000] or None,
            "nextAt": _moment(following["at"]) if following else None,
            "nextRule": following["rule"] if following else None,
        }
    )


def _step(bar: Json) -> Json:
    return _present(
        {
            "name": bar["name"],
            "kind": bar["kind"] or None,
            "state": bar["state"],
            "startedAt": _moment(bar["startedAt"]),
            "endedAt": _moment(bar["endedAt"]),
            "waitsFor": bar.get("waitsFor"),
            "failures": [{"at": _moment(one["at"]), "reason": one["reason"]} for one in bar["failures"]]
            or None,
        }
    )


def _clock(answer: Json) -> Json:
    times = {"now": _moment(answer["now"]), "nextDue": _moment(answer["nextDue"])}
    return _present({**answer, **times})
