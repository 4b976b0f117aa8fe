"""The web application of our luigid: Luigi's pages and calls, for this host's own browsers and programs alone.

luigid has no login, and a browser on its host sends it whatever any page in any of its windows says. So a request must
name this host (a foreign name that leads here is how a page of another site reads answers), must not come from another
site's page, and no page of ours runs a script that is not Luigi's own.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import pathlib
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import luigi.server
from luigi.scheduler import Scheduler
from tornado.httputil import HTTPServerRequest
from tornado.template import DictLoader
from tornado.web import Application, ErrorHandler, RequestHandler, StaticFileHandler

from pipeline.runs.calls import CallError, checked

logger = logging.getLogger("pipeline")

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
STATIC = pathlib.Path(luigi.server.__file__).parent / "static"
#: What stands around Luigi's pages on the history of runs; Luigi's own loads scripts and a style from another site.
LAYOUT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>History of runs</title>
<link href="{{ static_url("visualiser/lib/bootstrap3/css/bootstrap.min.css") }}" rel="stylesheet">
</head>
<body><main class="container">{% block content %}{% end %}</main></body>
</html>
"""


def application(scheduler: Scheduler, names: Iterable[str] = ()) -> Application:
    """All of luigid's addresses. `names`: what this host may be called besides the names of the loopback."""
    given = {"scheduler": scheduler}
    pages = {
        r"/api/(.*)": Calls,
        r"/": luigi.server.RootPathHandler,
        r"/tasklist": _ours(luigi.server.AllRunHandler),
        r"/history": _ours(luigi.server.RecentRunHandler),
        r"/history/by_name/(.*?)": _ours(luigi.server.ByNameHandler),
        r"/history/by_id/(.*?)": _ours(luigi.server.ByIdHandler),
        r"/history/by_task_id/(.*?)": _ours(luigi.server.ByTaskIdHandler),
        r"/history/by_params/(.*?)": _ours(luigi.server.ByParamsHandler),
        r"/metrics": luigi.server.MetricsHandler,
    }
    return Guarded(
        frozenset({*LOOPBACK, *(name.lower() for name in names)}),
        [(r"/tasklist/(.*?)", ToHistory), *((path, handler, given) for path, handler in pages.items())],
        static_path=str(STATIC),
        static_handler_class=Files,
        compress_response=True,
    )


class Guarded(Application):
    """Answers requests that name this host and come from no other site; the others get 403, and reach nothing."""

    def __init__(self, names: frozenset[str], *arguments: Any, **options: Any) -> None:
        self.names = names
        super().__init__(*arguments, **options)

    def find_handler(self, request: HTTPServerRequest, **options: Any) -> Any:
        if not is_own(request, self.names):
            return self.get_handler_delegate(request, Foreign, {"status_code": 403})
        return super().find_handler(request, **options)


class Foreign(ErrorHandler):
    def write_error(self, status_code: int, **options: Any) -> None:
        self.finish("this scheduler answers pages and programs of its own host; scripts/luigid --help names --name\n")


def is_own(request: HTTPServerRequest, names: frozenset[str]) -> bool:
    """Whether a request names this host, and its page, if a page sent it, is of this scheduler."""
    host = request.host.lower()
    if _name(host) not in names:
        return False
    for header in ("Origin", "Referer"):
        page = request.headers.get(header)
        if page is not None and not _is_of(page, host) and not (header == "Referer" and _is_visit(request)):
            return False
    site = request.headers.get("Sec-Fetch-Site", "none")
    return site in ("same-origin", "none") or _is_visit(request)


def _is_visit(request: HTTPServerRequest) -> bool:
    """Whether somebody followed a link to a page, which changes nothing; a call is no page."""
    return (
        request.method == "GET"
        and not request.path.startswith("/api/")
        and request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
        and request.headers.get("Sec-Fetch-Dest", "document") == "document"
    )


def _name(host: str) -> str:
    """A host without its port."""
    return re.sub(r":\d*$", "", host)


def _is_of(page: str, host: str) -> bool:
    try:
        address = urlsplit(page)
    except ValueError:
        return False
    return address.scheme in ("http", "https") and address.netloc.lower() == host


class Held(RequestHandler):
    """Has the browser hold what it gets to `content_policy`."""

    def set_default_headers(self) -> None:
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")


class Files(Held, StaticFileHandler):
    """Luigi's page and what belongs to it."""


class Calls(Held, luigi.server.RPCHandler):
    """The calls of workers and of the page, their arguments checked first."""

    def get(self, method: str) -> None:
        try:
            checked(method, self.get_argument("data", default="{}"))
        except CallError as error:
            logger.warning("a call of %s is refused: %s", method, error)
            self.set_status(400)
            self.finish(f"{error}\n")
        else:
            super().get(method)

    post = get


class ToHistory(Held):
    """Luigi's chart of a task's runs needs scripts of another site; the table has the same runs."""

    def get(self, name: str) -> None:
        self.redirect(f"/history/by_name/{name}")


def _ours(handler: type[RequestHandler]) -> type[RequestHandler]:
    """A page of Luigi within LAYOUT."""

    class Page(Held, handler):  # type: ignore[misc, valid-type]
        def create_template_loader(self, template_path: str) -> DictLoader:
            luigis = {
                path.name: path.read_text(encoding="utf-8") for path in pathlib.Path(template_path).glob("*.html")
            }
            return DictLoader(luigis | {"layout.html": LAYOUT})

    return Page


def content_policy() -> str:
    """What a page may load and run: Luigi's own files, and the script that stands in its page itself.

    Luigi puts the status messages of tasks into the page as they come, and its style sheet asks another site for a
    font.
    """
    page = (STATIC / "visualiser" / "index.html").read_bytes().replace(b"\r\n", b"\n")
    scripts = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    own = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in scripts)
    return (
        f"default-src 'self'; script-src 'self' {own}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        f"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


POLICY = content_policy()
