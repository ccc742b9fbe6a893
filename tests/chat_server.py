"""A small server of chat completions, on a real socket, with the faults of real ones."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = tuple[int, str, dict[str, str]]
"""Status, text and headers of an answer that is no completion."""


@dataclass
class Chat:
    """What the server is to answer, and what it was asked."""

    reply: Callable[[dict[str, Any]], str] = lambda asked: f"{asked['seed']} " * (1 + asked["seed"] % 4)
    fault: Callable[[dict[str, Any], int], Fault | None] = lambda asked, times: None
    """(call, how often it came) -> what goes wrong."""
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    keys: list[str | None] = field(default_factory=list[Any])
    most: int = 0
    """Calls that were under way at once."""
    hold: threading.Event = field(default_factory=threading.Event)
    """Answers wait for it."""
    url: str = ""


@contextmanager
def serving(chat: Chat) -> Iterator[Chat]:
    lock, times, under_way = threading.Lock(), Counter[str](), [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                chat.asked.append(asked)
                chat.keys.append(self.headers.get("Authorization"))
                key = json.dumps(asked, sort_keys=True)
                times[key] += 1
                under_way[0] += 1
                chat.most = max(chat.most, under_way[0])
            chat.hold.wait(30)
            with lock:
                under_way[0] -= 1
            fault = chat.fault(asked, times[key]) if self.path == "/v1/chat/completions" else (404, "no", {})
            if fault is None:
                self.answer(200, json.dumps(completion(asked, chat.reply(asked))), {})
            elif not fault[0]:
                self.close_connection = True  # not a word
            else:
                self.answer(*fault)

        def answer(self, status: int, text: str, headers: dict[str, str]) -> None:
            data = text.encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that has gone is nothing to report."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    chat.url = f"http://127.0.0.1:{server.server_address[1]}"
    chat.hold.set()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()


def completion(asked: dict[str, Any], text: str) -> dict[str, Any]:
    """A byte is a token, and the end is one too."""
    stops = [text.index(stop) for stop in asked.get("stop", []) if stop in text]
    text = text[: min(stops, default=len(text))]
    cut = len(text) + 1 > asked["max_tokens"]
    text = text[: asked["max_tokens"]]
    return {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "length" if cut else "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": len(text) + (not cut)},
    }
