"""A store that misbehaves: what the proxy before it does to requests."""

import contextlib
import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from integration.s3.between import Answer, Between, Forward, Request, Rule, honest

_SLOW_DOWN: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
_NOBODY: Final = Answer(0)
"""The connection ends without a word."""


class Misbehaviour:
    """Rules of `Between` that strike at a share of what they are about.

    Args:
        chance: which; used under a lock, since requests come in threads.

    Attributes:
        struck: how often each did what it does.
    """

    def __init__(self, between: Between, chance: random.Random) -> None:
        self._between = between
        self._chance = chance
        self._lock = threading.Lock()
        self.struck: Counter[str] = Counter()

    @contextlib.contextmanager
    def on(self, rule: Rule) -> Iterator[None]:
        """While this lasts, ``rule`` decides."""
        self._between.rule = rule
        try:
            yield
        finally:
            self._between.rule = honest

    def busy(self, share: float) -> Rule:
        """Answers 503 SlowDown."""

        def rule(request: Request, forward: Forward) -> Answer:
            if not self._strikes("503", share):
                return forward(request)
            return Answer(503, [("Content-Type", "application/xml")], _SLOW_DOWN)

        return rule

    def slow(self, seconds: tuple[float, float], bytes_a_second: int) -> Rule:
        """Takes its time to answer, between two numbers of seconds, and the longer for a body."""

        def rule(request: Request, forward: Forward) -> Answer:
            with self._lock:
                latency = self._chance.uniform(*seconds)
                self.struck["slow"] += 1
            time.sleep(latency + len(request.body) / bytes_a_second)
            return forward(request)

        return rule

    def lying(self, share: float) -> Rule:
        """Answers a write with success and keeps nothing; the answer is that of a real store."""

        def rule(request: Request, forward: Forward) -> Answer:
            if request.method != "PUT" or not self._strikes("lie", share):
                return forward(request)
            told = {name.lower(): value for name, value in request.headers.items()}
            headers = [("ETag", '"5d41402abc4b2a76b9719d911017c592"'), ("x-amz-version-id", "none")]
            checksum = "x-amz-checksum-sha256"
            if checksum in told:
                headers.append((checksum, told[checksum]))
            return Answer(200, headers)

        return rule

    def cutting(self, share: float) -> Rule:
        """Loses the connection of a write: in mid-upload, or before the answer comes."""

        def rule(request: Request, forward: Forward) -> Answer:
            if request.method != "PUT" or not self._strikes("cut", share):
                return forward(request)
            with self._lock:
                halfway = self._chance.random() < 0.5
            if halfway:
                self._half(request)
            else:
                forward(request)
            return _NOBODY

        return rule

    def _half(self, request: Request) -> None:
        """Half of the body comes to the store, then nothing more."""
        upstream = urlsplit(self._between.upstream)
        connection = http.client.HTTPConnection(upstream.netloc, timeout=10)
        try:
            connection.putrequest(
                request.method, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(request.body[: len(request.body) // 2])
        finally:
            connection.close()

    def _strikes(self, what: str, share: float) -> bool:
        with self._lock:
            strikes = self._chance.random() < share
            self.struck[what] += strikes
        return strikes
