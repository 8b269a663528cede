"""People at a real browser: what they open, click, type and read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.support.console_pages import CONSOLE, browser

SCRIPT = CONSOLE / "tests" / "browser.mjs"
ENDS = 30.0  # seconds that the browser has for its end


class NotOnThePage(AssertionError):
    """The browser could not do what it was told."""


@dataclass(frozen=True, slots=True)
class Person:
    """One who looks at Airflow and is signed in. Where something is: `FRAME >>> SELECTOR`, or a selector."""

    name: str
    airflow: str
    driver: subprocess.Popen[str]

    def open(self, path: str) -> None:
        self._do("goto", url=f"{self.airflow}{path}")

    def rollout(self, dag: str, run: str) -> None:
        """Open the page of a rollout, on its own, outside Airflow's frame."""
        self.open(f"/inference-rollouts/#/rollouts/{quote(dag, safe='')}/{quote(run, safe='')}")
        self.wait(".headline")

    def wait(self, at: str) -> None:
        """Return when it is visible."""
        self._do("wait", at=at)

    def click(self, at: str) -> None:
        self._do("click", at=at)

    def fill(self, at: str, text: str) -> None:
        self._do("fill", at=at, text=text)

    def read(self, at: str) -> str:
        return str(self._do("text", at=at))

    def evaluate(self, code: str) -> Any:
        """The value of JavaScript on the page; of a promise what it becomes."""
        return self._do("evaluate", code=code)

    def sign_in(self, password: str) -> None:
        self.open("/")
        self.fill("input[name=username]", self.name)
        self.fill("input[type=password]", password)
        self.click("button:has-text('Sign in')")
        self.wait("a:has-text('Rollouts'), button:has-text('Rollouts')")

    def _do(self, deed: str, **details: Any) -> Any:
        assert self.driver.stdin
        assert self.driver.stdout
        self.driver.stdin.write(json.dumps({"who": self.name, "do": deed, **details}) + "\n")
        self.driver.stdin.flush()
        line = self.driver.stdout.readline()
        if not line:
            raise NotOnThePage(f"{self.name}: {deed} {details}: the browser has ended")
        answer = json.loads(line)
        if problem := answer.get("error"):
            raise NotOnThePage(f"{self.name}: {deed} {details}: {problem}")
        return answer["value"]


@contextmanager
def people(airflow: str, passwords: dict[str, str]) -> Iterator[dict[str, Person]]:
    """Those with these passwords, each signed in at one browser; it ends with them."""
    driver = subprocess.Popen(
        ["node", str(SCRIPT)],
        cwd=CONSOLE,
        env=os.environ | {"CHROMIUM": browser() or ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    try:
        signed_in = {name: Person(name, airflow, driver) for name in passwords}
        for name, person in signed_in.items():
            person.sign_in(passwords[name])
        yield signed_in
    finally:
        try:
            driver.communicate(timeout=ENDS)
        except subprocess.TimeoutExpired:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
