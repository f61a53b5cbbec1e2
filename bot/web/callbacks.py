"""Doors for what providers send us: the raw body goes to the channel's own code, in a thread, and its answer back.

Whether a request is genuine is the channel's business: it knows what its provider signs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from starlette.requests import ClientDisconnect

__all__ = ["Callback", "add_callback"]

# Body and headers in; status, headers and body out.
Callback = Callable[[bytes, Mapping[str, str]], tuple[int, dict[str, str], str]]
# A message of fifty full blocks, percent-encoded, stays below a megabyte.
MAX_OCTETS = 2 * 1024 * 1024


async def raw_body(request: Request) -> bytes:
    """Read the body as it came; 413 for one that no provider would send."""
    read = bytearray()
    try:
        async for part in request.stream():
            read += part
            if len(read) > MAX_OCTETS:
                raise HTTPException(413, "this body is too large")
    except ClientDisconnect as error:
        raise HTTPException(400, "the body ended early") from error
    return bytes(read)


def add_callback(app: FastAPI, path: str, callback: Callback) -> None:
    """Let POSTs to a path reach a callback; it runs in the framework's thread pool and may block."""

    @app.post(path)
    def receive(request: Request, body: Annotated[bytes, Depends(raw_body)]) -> Response:
        status, headers, content = callback(body, request.headers)
        return Response(content, status_code=status, headers=headers)
