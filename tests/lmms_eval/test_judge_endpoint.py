"""CharXiv asks a language model where one is given; a stand-in answers here."""

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lmms_runs import ENVIRONMENT
from ovrl.eval.lmms import environment, overlay, suite, task_files

sys.path.append(str(Path(__file__).parent))
from test_overlays import judged

pytestmark = pytest.mark.slow


@contextmanager
def serving(verdict: Callable[[str, str], str]) -> Iterator[str]:
    """Yield the address of a judge that says `verdict(response, gold)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = asked["messages"][0]["content"].rpartition("### Example End ###")[2]
            response, gold = re.findall(r"Response 1: (.*)\nGround Truth 1: (.*)\n", prompt)[0]
            message = {"role": "assistant", "content": verdict(response, gold)}
            body = {"id": "1", "object": "chat.completion", "created": 1, "model": asked["model"],
                    "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()


def judge(folder: Path, url: str) -> dict[str, object]:
    if not (ENVIRONMENT / "bin" / "python").exists():
        pytest.skip("no lmms-eval; run `make test-lmms`")
    row, found = suite.suite()["charxiv_dq"], environment.find(str(ENVIRONMENT))
    file = task_files.index((found.tasks,))[row.task]
    overlay.write(row, file, folder, mode="fast", shard=(0, 1), max_new_tokens=77)
    (folder / "plan.json").write_text(
        json.dumps({row.name: {"task": row.task, "metric": row.metric, "modes": ["fast"]}})
    )
    variables = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": url, "MODEL_VERSION": "the-judge"}
    return judged(found.python, folder, **variables)["charxiv_dq"]["fast"]


def test_the_endpoint_judges_and_is_named(tmp_path: Path):
    """It says yes to what is longer than one character, which no rule would."""
    with serving(
        lambda response, gold: json.dumps({"extract_answer_T1": response, "score_T1": int(len(response) > 1)})
    ) as url:
        found = judge(tmp_path, url)
    assert "raised" not in found, found["raised"]
    assert found["judges"] == ["endpoint the-judge"]
    assert found["scores"]["wrong"] == [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert found["values"]["empty"] == 0.0


def test_an_endpoint_without_a_verdict_is_an_error(tmp_path: Path):
    with serving(lambda response, gold: "no") as url:
        found = judge(tmp_path, url)
    assert "the judge the-judge gave no verdict on images/0.jpg, question 1" in str(found["raised"])
