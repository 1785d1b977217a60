"""Plays a worker that answers as `docs/contract/vectors/replies.json` says."""

import json
import threading
from collections import Counter
from typing import Any, Final

import pika

from tests.contract import FOLDER
from tests.stub_worker import StubWorker

Vector = dict[str, Any]

_VECTORS: Final = FOLDER / "vectors"


def vectors(kind: str) -> list[Vector]:
    """Read the vectors of a kind: `requests` or `replies`."""
    found: list[Vector] = json.loads((_VECTORS / f"{kind}.json").read_text())["vectors"]
    return found


def rows() -> list[Vector]:
    """Give what stands in the table before the first request."""
    found: list[Vector] = json.loads((_VECTORS / "requests.json").read_text())["rows"]
    return found


class Answers:
    """The answers of all vectors; one thread gives them, any may look at `requests`."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self._by_tag = {vector["tag"]: vector["answers"] for vector in vectors("replies")}

    def worker(self, amqp_url: str) -> StubWorker:
        """Start to consume `id.alloc`."""
        return StubWorker(amqp_url, self._answer)

    def _answer(self, channel: Any, request: pika.BasicProperties, body: bytes) -> None:
        tag = json.loads(body)["app_tag"]
        answers = self._by_tag[tag]
        answer = answers[min(self.requests[tag], len(answers) - 1)]
        self.requests[tag] += 1
        for message in (*answer.get("before", ()), answer):
            correlation_id = message.get("correlation_id", request.correlation_id)
            properties = pika.BasicProperties(correlation_id=correlation_id)
            channel.basic_publish("", request.reply_to, message["body"].encode(), properties)


def play(amqp_url: str) -> None:
    """Answer until the process is interrupted."""
    with Answers().worker(amqp_url):
        threading.Event().wait()


def body_of(vector: Vector) -> bytes:
    """Give the bytes of a request."""
    if "body_hex" in vector:
        return bytes.fromhex(vector["body_hex"])
    text: bytes = vector["body"].encode()
    return text.ljust(vector.get("pad_to", 0))
