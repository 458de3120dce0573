"""The handler of the jobs: it reports its start to the world, follows its plan, and reports its end."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.engine.job import Job
from jobs_core.engine.registry import Payload, Registry, job
from jobs_core.engine.requests import JobRequest
from jobs_core.model.errors import PermanentJobError, RetryLater
from tests.simulation.jobs.history import Run
from tests.simulation.jobs.scenario import Ends, How, JobSpec, Reaction

if TYPE_CHECKING:
    from tests.simulation.jobs.processes import JobsProcess
    from tests.simulation.jobs.world import World

JOB_TYPE = "work"
LATER_SECONDS = 30


class Work(Payload):
    """The payload: the label of the job in the scenario."""

    label: str


def make_registry(world: "World", process: "JobsProcess") -> Registry:
    """Return a registry with the one job type, for this process."""

    @job(
        JOB_TYPE,
        endpoint="/api/jobs/work",
        retries=3,
        timeout=timedelta(seconds=20),
        description="Follow the plan of the job.",
    )
    async def work(payload: Work, job: Job) -> str:
        return await _Running(world, process, payload.label, job).run()

    return Registry([work])


def request_of(spec: JobSpec) -> JobRequest:
    """Return the request with which a caller enqueues the spec."""
    return JobRequest.of(
        JOB_TYPE,
        Work(label=spec.label),
        idempotency_key=spec.idempotency_key,
        delay=spec.delay_seconds or None,
        timeout=spec.timeout_seconds,
        retries=spec.retries,
        retry_delay=None if spec.retry_delay_ms is None else timedelta(milliseconds=spec.retry_delay_ms),
    )


class _Running:
    """One run of the handler."""

    def __init__(self, world: "World", process: "JobsProcess", label: str, job: Job) -> None:
        self._world, self._process, self._job = world, process, job
        self._spec = world.spec_of(label)
        number = world.history.runs_of(label)
        self._reaction = self._spec.plan[number] if number < len(self._spec.plan) else Reaction()
        self._run = Run(
            label=label,
            job_id=job.id,
            number=job.attempt_number,
            process=process.name,
            timeout_seconds=self._spec.timeout_seconds,
            began_us=world.now_us,
        )
        world.history.runs.append(self._run)
        world.note(
            f"run       {label} number {job.attempt_number} on {process.name}: {self._reaction}", job.id
        )

    async def run(self) -> str:
        try:
            await self._work()
        except asyncio.CancelledError:
            self._say("cancelled")
            raise
        except Exception:
            self._say("breaks")  # an error that the world's faults caused
            raise
        return self._end()

    async def _work(self) -> None:
        reaction = self._reaction
        if reaction.has_child:
            await self._enqueue_child()
        await self._sleep(reaction.seconds)
        match reaction.ends:
            case Ends.HANGS:
                await self._sleep(10 * self._spec.timeout_seconds)
            case Ends.KILLED:
                self._process.kill("in mid-handler")
                await asyncio.get_running_loop().create_future()
            case Ends.FROZEN:
                self._world.freeze(self._process, 2 * self._spec.timeout_seconds + 30)
                await asyncio.sleep(0.001)

    def _end(self) -> str:
        reaction, name = self._reaction, f"{self._run.label} in run {self._run.number}"
        self._say(reaction.ends)
        if reaction.ends is Ends.RAISES:
            raise RuntimeError(name)
        if reaction.ends is Ends.PERMANENT:
            raise PermanentJobError(name)
        if reaction.ends is Ends.LATER:
            raise RetryLater(LATER_SECONDS, name)
        self._job.on_completion(self._write_effect)
        return name

    async def _sleep(self, seconds: float) -> None:
        until_us = self._world.now_us + round(seconds * 1_000_000)
        while (left_us := until_us - self._world.now_us) > 0:
            try:
                await asyncio.sleep(left_us / 1_000_000)
            except asyncio.CancelledError:
                if not self._reaction.is_stubborn or not self._process.is_alive:
                    raise

    async def _enqueue_child(self) -> None:
        spec = JobSpec(label=f"{self._run.label}/{self._run.number}", retries=1)
        enqueued = self._world.wants(spec, How.CALL, parent_label=self._run.label)
        enqueued.job_id = (await self._job.use(JobDispatcher).enqueue_many([request_of(spec)]))[0]
        enqueued.is_acknowledged = self._process.is_alive

    def _write_effect(self, connection: Any) -> None:
        row = {"job_id": self._run.job_id, "number": self._run.number}
        connection.execute(text("INSERT INTO effects (job_id, number) VALUES (:job_id, :number)"), row)

    def _say(self, end: str) -> None:
        if self._process.is_alive:
            self._run.end, self._run.ended_us = str(end), self._world.now_us
            self._world.note(
                f"run ends  {self._run.label} number {self._run.number}: {end}", self._run.job_id
            )
