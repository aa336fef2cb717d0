"""A stand-in for a cluster's dashboard: answers as Ray 2.60 does, on a free port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

METADATA = "/api/v0/cluster_metadata"
NODES = "/api/v0/nodes"


def metadata(ray: str = "2.60.0", python: str = "3.11.2") -> dict[str, Any]:
    return {"rayVersion": ray, "pythonVersion": python}


def nodes(*resources: dict[str, float], states: tuple[str, ...] = ()) -> dict[str, Any]:
    listed = [
        {"node_id": str(number), "state": states[number] if states else "ALIVE", "resources_total": each}
        for number, each in enumerate(resources)
    ]
    return {"result": {"result": listed}}


def _listed(found: Any, query: dict[str, str]) -> Any:
    """Return the nodes that Ray lists: those of a state, 100 unless more are asked for."""
    try:
        listed = found["result"]["result"]
    except (KeyError, TypeError):
        return found
    if query.get("filter_keys") == "state" and query["filter_predicates"] == "=":
        listed = [node for node in listed if node["state"] == query["filter_values"]]
    return {"result": {"result": listed[: int(query.get("limit", "100"))]}}


@contextlib.contextmanager
def dashboard(answers: dict[str, Any], token: str = "") -> Iterator[str]:
    """Serve answers by path; yields the address. With a token, whoever does not show it is refused."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = not token or self.headers.get("Authorization") == f"Bearer {token}"
            path, _, query = self.path.partition("?")
            found = answers.get(path)
            if path == NODES and found is not None:
                found = _listed(found, {name: each[-1] for name, each in parse_qs(query).items()})
            status = 401 if not allowed else 200 if found is not None else 404
            body = json.dumps({"data": found}).encode() if found is not None and allowed else b"no"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
