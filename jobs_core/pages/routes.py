"""Pages in the browser, for the same people as the jobs page, and without a line of script.

::

    GET /dev/mailbox              mail that the development server received (MAILBOX_DIR)
    GET /dev/mailbox/{name}       one of them
    GET /dev/emails               the e-mail templates
    GET /dev/emails/{template}    one of them with sample data, light and dark, ?width=320 or 800
    GET /dev/files                the files that jobs made, with fresh links

A mail's HTML is shown in a frame that can run nothing and load nothing.
"""

import asyncio
from functools import cache, partial
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from jobs_core.emails.catalog import TEMPLATES, Brand
from jobs_core.emails.previews import preview
from jobs_core.engine.app_context import AppContext
from jobs_core.http.relative_links import link_to
from jobs_core.monitoring.guard import AdminGuard, Endpoint, NotAllowedError
from jobs_core.monitoring.pages import PageLink
from jobs_core.pages.mailbox import Mailbox
from jobs_core.storage.files import FileStorage
from jobs_core.storage.links import FileLinks

_PAGE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_FRAME = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'self'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_WIDTHS = ("320", "600", "800")
_DARK = "@media (prefers-color-scheme: dark)"
_NEWEST_FILES = 500


def links(context: AppContext) -> list[PageLink]:
    """Return the links in the head of every page."""
    mailbox = [PageLink("Mailbox", "dev-mailbox")] if context.settings.mailbox_dir is not None else []
    return [*mailbox, PageLink("E-mail templates", "dev-emails"), PageLink("Files", "dev-files")]


def dev_routes(
    context: AppContext, guard: AdminGuard, storage: FileStorage, file_links: FileLinks
) -> list[BaseRoute]:
    """Return the routes of these pages."""
    pages = _Pages(context, guard, storage, file_links)
    routes: list[tuple[str, str, Endpoint]] = [
        ("dev-mailbox", "/dev/mailbox", pages.mailbox),
        ("dev-mail", "/dev/mailbox/{name}", pages.mail),
        ("dev-mail-html", "/dev/mailbox/{name}/html", pages.mail_html),
        ("dev-emails", "/dev/emails", pages.templates),
        ("dev-email", "/dev/emails/{template}", pages.template),
        ("dev-email-html", "/dev/emails/{template}/html", pages.template_html),
        ("dev-files", "/dev/files", pages.files),
    ]
    return [
        Route(path, pages.guarded(endpoint), methods=["GET"], name=name) for name, path, endpoint in routes
    ]


class _Pages:
    def __init__(
        self, context: AppContext, guard: AdminGuard, storage: FileStorage, file_links: FileLinks
    ) -> None:
        self._settings = context.settings
        self._clock = context.clock
        self._guard = guard
        self._storage = storage
        self._file_links = file_links
        self._links = links(context)
        self._brand = Brand(context.settings.brand_name)

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """Return ``endpoint`` for those with access; others are asked for the token, or told why not."""

        async def handle(request: Request) -> Response:
            try:
                self._guard.check(request)
            except NotAllowedError as error:
                if error.status == 401:
                    return RedirectResponse(link_to(request, "jobs-login"), status_code=303)
                return self._page(request, "refused.html", status=error.status, reason=str(error))
            return await endpoint(request)

        return handle

    async def mailbox(self, request: Request) -> Response:
        box = self._box()
        mails = await asyncio.to_thread(box.newest) if box is not None else None
        return self._page(request, "mailbox.html", mails=mails)

    async def mail(self, request: Request) -> Response:
        box, name = self._box(), request.path_params["name"]
        mail = await asyncio.to_thread(box.find, name) if box is not None else None
        if mail is None:
            return self._missing(request, f"there is no mail {name}")
        return self._page(request, "mail.html", mail=mail)

    async def mail_html(self, request: Request) -> Response:
        box, name = self._box(), request.path_params["name"]
        mail = await asyncio.to_thread(box.find, name) if box is not None else None
        if mail is None or mail.html is None:
            return self._missing(request, f"there is no HTML of a mail {name}")
        return HTMLResponse(mail.html, headers=_FRAME)

    async def templates(self, request: Request) -> Response:
        rows = [(template, preview(name, self._brand)) for name, template in TEMPLATES.items()]
        return self._page(request, "templates.html", rows=rows)

    async def template(self, request: Request) -> Response:
        name = request.path_params["template"]
        if name not in TEMPLATES:
            return self._missing(request, f"there is no template {name}; there are {', '.join(TEMPLATES)}")
        width = request.query_params.get("width", "600")
        return self._page(
            request,
            "template.html",
            template=TEMPLATES[name],
            mail=preview(name, self._brand),
            width=width if width in _WIDTHS else "600",
            widths=_WIDTHS,
        )

    async def template_html(self, request: Request) -> Response:
        name = request.path_params["template"]
        if name not in TEMPLATES:
            return self._missing(request, f"there is no template {name}")
        return HTMLResponse(
            in_scheme(preview(name, self._brand).html, request.query_params.get("scheme")), headers=_FRAME
        )

    async def files(self, request: Request) -> Response:
        now = self._clock.now()
        found = await self._storage.files(limit=100_000)
        newest = list(reversed(found))[:_NEWEST_FILES]
        rows = [(file, self._file_links.make(file.name, now=now)) for file in newest]
        return self._page(request, "files.html", rows=rows, total=len(found))

    def _box(self) -> Mailbox | None:
        folder = self._settings.mailbox_dir
        return None if folder is None else Mailbox(folder)

    def _missing(self, request: Request, reason: str) -> Response:
        return self._page(request, "refused.html", status=404, reason=reason)

    def _page(self, request: Request, name: str, *, status: int = 200, **values: Any) -> Response:
        template = _templates().get_template(name)
        html = template.render(url=partial(link_to, request), links=self._links, **values)
        return HTMLResponse(html, status_code=status, headers=_PAGE)


def in_scheme(html: str, scheme: str | None) -> str:
    """Return the mail as a client in light or dark mode shows it, whatever this browser prefers."""
    if scheme == "dark":
        return html.replace(_DARK, "@media all")
    return html.replace(_DARK, "@media not all") if scheme == "light" else html


def human_size(size: int) -> str:
    """Bytes as people read them.

    >>> human_size(980), human_size(1_234_567)
    ('980 bytes', '1.2 MB')
    """
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


@cache
def _templates() -> Environment:
    environment = Environment(
        # Layout and refusals are the jobs page's.
        loader=ChoiceLoader([PackageLoader("jobs_core.pages"), PackageLoader("jobs_core.monitoring")]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = lambda at: f"{at:%Y-%m-%d %H:%M:%S}"
    environment.filters["size"] = human_size
    return environment
