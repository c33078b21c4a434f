"""A provider on loopback that speaks OpenAI's chat format, and the body of what it answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass
class Reply:
    """What a request is answered with.

    Attributes:
        body: JSON; or a list, whose items are streamed as server-sent events.
        status: HTTP status.
        delay: Seconds before the first byte, and between events.
        headers: Beside the content's type.
        cut: Whether the connection breaks in place of the end of the stream.
    """

    body: Any
    status: int = 200
    delay: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass
class Received:
    """A request that came in: its path, headers in lower case, and parsed body."""

    path: str
    headers: dict[str, str]
    body: Body


def completion(text: str | None, tool_calls: Sequence[Body] = (), model: str = "stand-in") -> Body:
    """A whole answer, with calls of tools if there are any: `{"id", "name", "arguments"}`."""
    message: Body = {"role": "assistant", "content": text}
    if tool_calls:
        message["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])},
            }
            for call in tool_calls
        ]
    reason = "tool_calls" if tool_calls else "stop"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def chunks(text: str, model: str = "stand-in") -> list[Body]:
    """The same answer as a stream, a word an event."""
    words = [word + " " for word in text.split()]
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in words), {}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": "stop" if delta == {} else None}]}
        for delta in deltas
    ]


class Upstream:
    """The provider, while the context lasts; `respond` gets each body of a chat request and says what to answer.

    Attributes:
        url: Its base address, `/v1` at the end.
        received: All requests so far.
    """

    def __init__(self, respond: Callable[[Body], Reply]) -> None:
        self.respond = respond
        self.received: list[Received] = []
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                upstream._answer(self, {})

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                upstream._answer(self, json.loads(self.rfile.read(length)))

            def log_message(self, *told: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def bodies(self) -> list[Body]:
        """The bodies of all requests so far."""
        return [each.body for each in self.received]

    def _answer(self, handler: BaseHTTPRequestHandler, body: Body) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.received.append(Received(handler.path, headers, body))
        if handler.path.endswith("/models"):
            reply = Reply({"object": "list", "data": [{"id": "stand-in", "object": "model"}]})
        else:
            reply = self.respond(body)
        time.sleep(reply.delay)
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        if isinstance(reply.body, list):
            self._stream(handler, reply)
            return
        told = json.dumps(reply.body).encode()
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(told)))
        handler.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):  # who asked has gone
            handler.wfile.write(told)

    def _stream(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            for event in [*map(json.dumps, reply.body), *([] if reply.cut else ["[DONE]"])]:
                told = f"data: {event}\n\n".encode()
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(told), told))
                handler.wfile.flush()
                time.sleep(reply.delay)
            if not reply.cut:
                handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = handler.close_connection or reply.cut

    def __enter__(self) -> Upstream:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
