"""Airflow's notifiers, as plans name them: what each is given, and what preflight refuses."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from types import ModuleType
from typing import Any

import pytest

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.notifications import Means, Notification, Occasion
from inference_rollouts.core.reporting.transition import Transition, of_run
from inference_rollouts.hooks.cloudevents import CloudEventsHook
from inference_rollouts.hooks.notifiers import PROVIDERS, check_notifications, send
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import preflight
from tests.support.plans import llm_plan
from tests.support.receiver import receiving

FROZEN = preflight(FakeCluster())
WORDS = "{{ 7*7 }} <b>&</b> <!channel>"
Sent = dict[str, Any]


def transition(occasion: Occasion = Occasion.ALARM) -> Transition:
    return of_run(FROZEN, occasion, 1, WORDS, {"evidence": 30.0}, "https://airflow.example.com/dags/x?a&b")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What the last notifier was made with; those of all providers are there, and may render no template."""
    given: Sent = {}

    class Notifier:
        def __init__(self, **arguments: Any) -> None:
            self.arguments = arguments

        def notify(self, context: dict[str, Any]) -> None:
            given.update(self.arguments)

        def __call__(self, context: dict[str, Any]) -> None:
            raise AssertionError("its texts would be rendered as templates")

    for _, path, name in PROVIDERS.values():
        module = ModuleType(path)
        setattr(module, name, Notifier)
        monkeypatch.setitem(sys.modules, path, module)
    return given


def test_a_mail_is_html_in_which_words_of_others_are_words(sent: Sent) -> None:
    send(Notification(by=Means.EMAIL, connection="mail", to=("a@example.com",)), transition())
    assert (sent["smtp_conn_id"], sent["to"]) == ("mail", ["a@example.com"])
    assert "ALARM" in sent["subject"]
    assert "<p>{{ 7*7 }} &lt;b&gt;&amp;&lt;/b&gt; &lt;!channel&gt;</p>" in sent["html_content"]
    assert '<a href="https://airflow.example.com/dags/x?a&amp;b">' in sent["html_content"]


def test_slack_gets_a_text_in_which_nobody_is_called(sent: Sent) -> None:
    send(Notification(by=Means.SLACK, connection="chat", to=("#rollouts",)), transition())
    assert (sent["slack_conn_id"], sent["channel"]) == ("chat", "#rollouts")
    assert "&lt;b&gt;&amp;&lt;/b&gt; &lt;!channel&gt;" in sent["text"]
    assert "<" not in sent["text"]


def test_pagerduty_gets_one_incident_a_transition(sent: Sent) -> None:
    send(Notification(by=Means.PAGERDUTY, connection="pager"), transition(Occasion.ASTRAY))
    assert (sent["pagerduty_events_conn_id"], sent["severity"]) == ("pager", "critical")
    assert sent["dedup_key"] == transition(Occasion.ASTRAY).id
    assert sent["custom_details"]["reason"] == WORDS
    assert (transition().severity, transition(Occasion.RAISED).severity) == ("error", "info")


def test_apprise_gets_plain_text(sent: Sent) -> None:
    send(Notification(by=Means.APPRISE, connection="all"), transition())
    assert sent["apprise_conn_id"] == "all"
    assert sent["body"] == transition().text


@pytest.mark.parametrize("means", PROVIDERS)
def test_the_provider_s_notifier_takes_what_it_is_given(
    means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path, name = PROVIDERS[means]
    if importlib.util.find_spec(path.rpartition(".notifications")[0]) is None:
        pytest.skip(f"no provider for {means.value} here")
    notifier = getattr(importlib.import_module(path), name)
    made: list[Any] = []
    monkeypatch.setattr(notifier, "notify", lambda self, context: made.append(self))
    to = {Means.EMAIL: ("a@example.com",), Means.SLACK: ("#a",)}.get(means, ())
    send(Notification(by=means, connection="x", to=to), transition())
    assert len(made) == 1


def test_the_webhook_gets_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        connection = {"conn_type": "http", "host": receiver.url, "extra": {"headers": {"X-Key": "k"}}}
        monkeypatch.setenv("AIRFLOW_CONN_HOOKS", json.dumps(connection))
        send(Notification(by=Means.WEBHOOK, connection="hooks"), transition())
    [event] = receiver.events
    assert event["data"]["reason"] == WORDS
    assert receiver.headers[0]["X-Key"] == "k"


@pytest.mark.parametrize(
    ("connection", "url", "headers", "login"),
    [
        ("cloudevents://u:p@example.com:8443", "https://example.com:8443", {}, ("u", "p")),
        ("http://:t@example.com", "http://example.com", {"Authorization": "Bearer t"}, None),
        (
            {"conn_type": "http", "host": "h", "schema": "https", "extra": {"path": "/x"}},
            "https://h/x",
            {},
            None,
        ),
        ({"conn_type": "cloudevents", "host": "https://h/x?sig=1"}, "https://h/x?sig=1", {}, None),
    ],
)
def test_a_connection_names_a_receiver(
    monkeypatch: pytest.MonkeyPatch, connection: Any, url: str, headers: dict[str, str], login: Any
) -> None:
    text = connection if isinstance(connection, str) else json.dumps(connection)
    monkeypatch.setenv("AIRFLOW_CONN_HOOKS", text)
    receiver = CloudEventsHook("hooks").get_conn()
    assert (receiver.url, receiver.headers, receiver.login) == (url, headers, login)


class TestPreflight:
    def check(self, **notification: Any) -> None:
        check_notifications(llm_plan(notifications=[notification]))

    def test_a_provider_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(PROVIDERS, Means.SLACK, ("slack", "airflow.providers.nowhere", "SlackNotifier"))
        with pytest.raises(PlanInvalid, match="package apache-airflow-providers-slack is not installed here"):
            self.check(by="slack", connection="chat", to=["#a"])

    @pytest.mark.usefixtures("sent", "database")
    def test_a_connection_that_does_not_exist(self) -> None:
        with pytest.raises(PlanInvalid, match=r"notifications\[0\] needs Airflow's connection nowhere"):
            self.check(by="slack", connection="nowhere", to=["#a"])

    def test_a_webhook_without_an_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_HOOKS", json.dumps({"conn_type": "cloudevents"}))
        with pytest.raises(PlanInvalid, match="connection hooks has no address"):
            self.check(by="webhook", connection="hooks")

    def test_what_can_be_sent_is_not_refused(self, monkeypatch: pytest.MonkeyPatch, sent: Sent) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_HOOKS", "cloudevents://example.com")
        self.check(by="webhook", connection="hooks")
        self.check(by="pagerduty", connection="hooks")
