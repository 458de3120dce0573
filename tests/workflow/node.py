"""The Express app of ``javascript/`` in a process of its own, and what it saw."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

DIRECTORY = Path(__file__).parent / "javascript"


@dataclass
class Served:
    """Address and credentials of the emulator, as an application's environment has them."""

    url: str
    token: str
    current_key: str
    next_key: str


@dataclass
class NodeApp:
    """``with NodeApp(node) as app``: Node runs the app on a free port of loopback."""

    node: str
    origin: str = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [self.node, "app.mjs"], cwd=DIRECTORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("listening on "):
                self.origin = f"http://127.0.0.1:{line.split()[-1]}"
                break
        else:
            raise AssertionError("the app did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


class App:
    """The app as one test uses it, pointed at the test's emulator."""

    def __init__(self, origin: str, http: httpx.AsyncClient) -> None:
        self.origin = origin
        self._http = http

    async def configure(self, served: Served) -> None:
        """Forget what was seen, and publish to this emulator."""
        await self._post(
            "/__configure",
            {
                "url": served.url,
                "token": served.token,
                "currentKey": served.current_key,
                "nextKey": served.next_key,
            },
        )

    async def client(self, method: str, *args: Any) -> Any:
        """Call a method of the SDK's own ``Client``; what it answers. Raises AssertionError with its error."""
        answer = await self.try_client(method, *args)
        assert "error" not in answer, answer
        return answer["answer"]

    async def try_client(self, method: str, *args: Any) -> dict[str, Any]:
        """The same, with what it throws as ``error``."""
        answer: dict[str, Any] = await self._post("/__client", {"method": method, "args": args})
        return answer

    async def trigger(self, path: str, **options: Any) -> str:
        """``client.trigger`` for one of the app's workflows; the run's id."""
        answer = await self.client("trigger", {"url": f"{self.origin}{path}", **options})
        run_id: str = answer["workflowRunId"]
        return run_id

    async def state(self) -> dict[str, Any]:
        """Return the app's record: ``deliveries``, ``results`` by run id, ``failures``, ``log``."""
        answer = await self._http.get(f"{self.origin}/__state")
        state: dict[str, Any] = answer.json()
        return state

    async def set(self, **values: Any) -> None:
        """Change the app's state."""
        await self._http.post(
            f"{self.origin}/set", content=json.dumps(values), headers={"Content-Type": "text/plain"}
        )

    async def counts(self) -> dict[str, int]:
        """Return the number of requests to each path."""
        counts: dict[str, int] = {}
        for delivery in (await self.state())["deliveries"]:
            if delivery["path"] != "/set":
                counts[delivery["path"]] = counts.get(delivery["path"], 0) + 1
        return counts

    async def log(self, run_id: str) -> Any:
        """The run as ``client.logs`` shows it."""
        [run] = (await self.client("logs", {"workflowRunId": run_id}))["runs"]
        return run

    async def finish(self) -> None:
        """Wait until endpoints that went on after their answer have come to an end."""
        await self._post("/__finish", {})

    async def post(self, path: str) -> None:
        """Any request of the test's own."""
        await self._http.post(f"{self.origin}{path}")

    async def _post(self, path: str, body: Any) -> Any:
        answer = await self._http.post(f"{self.origin}{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


def shape(run: Any) -> list[tuple[str, list[tuple[str, str]]]]:
    """A run's log as the kinds of its groups, each with the names and states of its steps."""
    return [
        (group["type"], [(step.get("stepName", ""), step["state"]) for step in group["steps"]])
        for group in run["steps"]
    ]
