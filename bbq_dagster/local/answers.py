"""How an answer goes over the line: JSON, gzipped where it pays, 304 for who has it already, HTML where nothing is.

Sources: https://cloud.google.com/bigquery/docs/api-performance (gzip, ETag and If-None-Match). A path that is none of
the API's never reaches BigQuery: Google's front end answers it, in HTML.
"""

import gzip
import json
from collections.abc import Mapping

from bbq_dagster.local.errors import not_implemented
from bbq_dagster.local.requests import Request, Response
from bbq_dagster.local.shapes import documented_call

# Below it, the packing takes longer than it saves on a line of this machine.
_WORTH_PACKING_BYTES = 4_096
_NOT_MODIFIED = Response(304)
_NOWHERE = """<!DOCTYPE html>
<html lang=en>
<title>Error 404 (Not Found)!!1</title>
<p><b>404.</b> <ins>That's an error.</ins>
<p>The requested URL was not found on this server. <ins>That's all we know.</ins>
"""


def nothing_there(request: Request) -> Response:
    """The answer to a request without a route: BigQuery's method that is not modelled, or no method at all."""
    if request.path.startswith("/local/"):
        return Response(404, {"error": {"code": 404, "message": f"Not found: Path {request.path}", "errors": []}})
    if request.path.strip("/").split("/")[0] == "batch":
        return _refused("batch requests: send each on its own")
    call = documented_call(request.method, request.path)
    return Response(404, text=_NOWHERE) if call is None else _refused(f"the method {call}")


def unless_known(request: Request, response: Response) -> Response:
    """Nothing but 304 for a GET that names the etag of what it would get."""
    wanted = request.headers.get("if-none-match")
    if wanted is None or request.method != "GET" or response.status != 200 or response.body is None:
        return response
    return _NOT_MODIFIED if response.body.get("etag") == wanted.strip('"') else response


def on_the_line(request: Request, response: Response) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the bytes of an answer."""
    kind, body = "application/json", b""
    if response.text is not None:
        kind, body = "text/html", response.text.encode()
    elif response.body is not None:
        body = json.dumps(response.body, separators=(",", ":")).encode()
    headers = {"content-type": f"{kind}; charset=UTF-8", **response.headers}
    if len(body) >= _WORTH_PACKING_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, compresslevel=1, mtime=0)
        headers |= {"content-encoding": "gzip", "vary": "Accept-Encoding"}
    return _encoded(headers | {"content-length": str(len(body))}), body


def _refused(what: str) -> Response:
    error = not_implemented(what)
    return Response(error.status, error.body())


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
