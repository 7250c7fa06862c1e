"""Requests that are made again when that may help: when the server says when, or when no answer came."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from .problems import Problem, Unreachable, problem_of

TRIES = 3  # when no answer comes
FIRST_PAUSE = 1.0  # seconds; doubles
LATER = {429, 503}  # "not now" rather than "no"
IN_USE = "idempotency_key_in_use"  # what we sent before the connection was lost is still being worked on


class Http:
    """One server, one token.

    Args:
        timeout: seconds without a sign of life before a request counts as lost.
        patience: seconds that a request may be put off by the server altogether, before its refusal counts.
    """

    def __init__(self, server: str, token: str, *, timeout: float, patience: float) -> None:
        headers = {"Accept": "application/json", "User-Agent": "veriframe-client/1"}
        if token:
            headers["Authorization"] = f"Token {token}"
        self._client = httpx.Client(base_url=server, headers=headers, timeout=timeout)
        self._patience = patience
        self.on_wait: Callable[[float], None] | None = None  # told how long the server wants us to wait

    def close(self) -> None:
        self._client.close()

    def request(self, method: str, path: str, *, repeatable: bool = True, **options: Any) -> httpx.Response:
        """An answer that is no refusal.

        Args:
            repeatable: whether the server does it once only, though it be asked twice.

        Raises:
            Problem: the server refused, and waiting does not help or would take longer than our patience.
            Unreachable: no answer came, again and again.
        """
        waited, failures = 0.0, 0
        while True:
            try:
                answer = self._client.request(method, path, **options)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise Unreachable(str(error)) from error
            except httpx.TransportError as error:
                failures += 1
                if failures >= TRIES or not repeatable:
                    raise Unreachable(str(error) or type(error).__name__) from error
                time.sleep(FIRST_PAUSE * 2 ** (failures - 1))
                continue
            if answer.is_success:
                return answer
            problem = problem_of(answer)
            waited += self._put_off(problem, waited)

    def _put_off(self, problem: Problem, waited: float) -> float:
        """Wait as long as the server says. Raises the problem if that does not help."""
        seconds = problem.retry_after
        is_later = problem.status in LATER or problem.code == IN_USE
        if not is_later or seconds is None or waited + seconds > self._patience:
            raise problem
        # At least a little: a server that says 0 for ever must come to the end of our patience.
        seconds = max(seconds, 0.1)
        if self.on_wait is not None:
            self.on_wait(seconds)
        time.sleep(seconds)
        return seconds
