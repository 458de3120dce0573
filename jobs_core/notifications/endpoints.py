"""The notifications over HTTP.

::

    GET  /api/notifications?userId=7          a page: notifications, unreadCount, nextBefore
         &unread=true &category=payment &limit=50 &before=ID
    POST /api/notifications/{id}/read         mark one as read
    POST /api/notifications/read              {"userId": 7, "ids": [...]}; without ids, all

Who asks is told by the application: provide a `CurrentUser` among the resources, and each user sees their own, with
no ``userId`` to give. Without one these are the administrator's endpoints, for a server that asks for its users.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jobs_core.engine.app_context import AppContext
from jobs_core.engine.registry import Payload
from jobs_core.engine.resources import Resources
from jobs_core.http.request_body import bounded_body
from jobs_core.model.envelope import Name, Subject, subject_of
from jobs_core.model.errors import JobValidationError
from jobs_core.monitoring.guard import AdminGuard
from jobs_core.notifications import store

_LARGEST_BODY = 256 * 1024
_LARGEST_PAGE = 200
_MOST_IDS = 1_000

Endpoint = Callable[[Request], Awaitable[Response]]


class CurrentUser:
    """Tells which user sends a request. Subclass it, and provide it: ``Resources().provide(CurrentUser, …)``."""

    async def identify(self, request: Request) -> Subject | None:
        """Return the user's id, ``None`` for nobody (answered 401)."""
        raise NotImplementedError


class MarkRead(Payload):
    """Which notifications to mark as read: those of ``ids``, or all."""

    user_id: int | Name | None = None
    ids: list[Name] | None = Field(None, max_length=_MOST_IDS)


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def notification_routes(context: AppContext, resources: Resources) -> list[Route]:
    """Return the endpoints."""
    api = _Api(context, resources.use(CurrentUser) if CurrentUser in resources else None)
    guard = AdminGuard(context.settings)
    paths: list[tuple[str, Endpoint, str]] = [
        ("/api/notifications", api.list, "GET"),
        ("/api/notifications/read", api.read_many, "POST"),
        ("/api/notifications/{id}/read", api.read_one, "POST"),
    ]
    if api.identifies_users:
        return [Route(path, _answering(endpoint), methods=[method]) for path, endpoint, method in paths]
    return [guard.route(path, _answering(endpoint), methods=[method]) for path, endpoint, method in paths]


class _Api:
    def __init__(self, context: AppContext, current_user: CurrentUser | None) -> None:
        self._database = context.database
        self._clock = context.clock
        self._current_user = current_user

    @property
    def identifies_users(self) -> bool:
        return self._current_user is not None

    async def list(self, request: Request) -> Response:
        query = request.query_params
        user_id = await self._user(request, query.get("userId"))
        limit = _whole(query.get("limit", "50"), "limit", _LARGEST_PAGE)
        unread_only = _flag(query.get("unread", "false"), "unread")
        found = await self._database.read(
            lambda connection: store.page(
                connection,
                user_id,
                unread_only=unread_only,
                category=query.get("category"),
                before=query.get("before"),
                limit=limit,
            )
        )
        return JSONResponse(
            {
                "notifications": [each.to_json() for each in found.notifications],
                "unreadCount": found.unread_count,
                "nextBefore": found.next_before,
            }
        )

    async def read_one(self, request: Request) -> Response:
        body = await _mark_read(request)
        user_id = await self._user(request, body.user_id)
        wanted = request.path_params["id"]
        now = self._clock.now()

        def write(connection: Any) -> tuple[int, bool]:
            changed = store.mark_read(connection, user_id, [wanted], now=now)
            return changed, changed > 0 or store.exists(connection, user_id, wanted)

        changed, is_known = await self._database.write(write)
        if not is_known:
            raise _Refused(404, f"the user has no notification {wanted}")
        return JSONResponse({"marked": changed})

    async def read_many(self, request: Request) -> Response:
        body = await _mark_read(request)
        user_id = await self._user(request, body.user_id)
        now = self._clock.now()
        marked = await self._database.write(
            lambda connection: store.mark_read(connection, user_id, body.ids, now=now)
        )
        return JSONResponse({"marked": marked})

    async def _user(self, request: Request, given: Subject | None) -> Subject:
        if self._current_user is not None:
            user_id = await self._current_user.identify(request)
            if user_id is None:
                raise _Refused(401, "nobody is signed in")
            return user_id
        if given is None or given == "":
            raise _Refused(400, "userId is missing: a number, or text")
        return subject_of(given) if isinstance(given, str) else given


def _answering(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except _Refused as refused:
            return JSONResponse({"error": str(refused)}, status_code=refused.status)

    return answer


async def _mark_read(request: Request) -> MarkRead:
    body = await bounded_body(request, _LARGEST_BODY)
    try:
        return MarkRead.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise _Refused(400, JobValidationError.from_pydantic("the body", error).message) from None


def _whole(value: str, name: str, largest: int) -> int:
    if value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= largest and len(value) < 10:
        return int(value)
    raise _Refused(400, f"{name} must be a whole number from 1 to {largest}, not {value!r}")


def _flag(value: str, name: str) -> bool:
    if value in {"true", "false"}:
        return value == "true"
    raise _Refused(400, f"{name} must be true or false, not {value!r}")
