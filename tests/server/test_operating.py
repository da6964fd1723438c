"""What those who run the server see: health, metrics; and `/v1/guard`."""

import asyncio
import threading
from collections.abc import Sequence

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from endoscope.readouts import TokenScores
from tests.scorers import NAMES, PatternScorer
from tests.server.conftest import Serving
from tests.server.fake import fake_score
from tests.server.serving import eventually, fake_guard, fake_served, running


def figures(serving: Serving) -> dict[tuple[str, ...], float]:
    """All samples by name and labels."""
    text = httpx.get(f"{serving.url}/metrics").text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_what_happened() -> None:
    with running(fake_served()) as (url, app):
        server = Serving(url, app)
        body = {"model": "fake", "prompt": "say:abc", "endoscope": {"probes": ["words"]}}
        for _ in range(2):
            assert server.post("/v1/completions", body).status_code == 200
        server.post("/v1/completions", {"model": "loud", "prompt": "say:xy", "max_tokens": 1})
        server.post("/v1/completions", {"model": "fake"})
        server.post("/v1/guard", {"text": "Mary Jones", "policy": "names"})
        found = figures(server)
    assert found["endoscope_generations_total", "fake", "stop"] == 2
    assert found["endoscope_generations_total", "length", "loud"] == 1
    assert found["endoscope_responses_total", "/v1/completions", "200"] == 3
    assert found["endoscope_responses_total", "/v1/completions", "400"] == 1
    assert found["endoscope_tokens_total", "fake", "prompt"] == 2 * 8
    assert found["endoscope_tokens_total", "fake", "generated"] == 2 * 4
    assert found["endoscope_time_to_first_token_seconds_count", "fake"] == 2
    assert found["endoscope_time_per_token_seconds_count", "fake"] == 2 * 3
    positions = range(8 + 4)
    assert found["endoscope_probe_score_count", "words"] == 2 * len(positions)
    assert found["endoscope_probe_score_sum", "words"] == pytest.approx(
        2 * sum(map(fake_score, positions)), abs=1e-4
    )
    assert found["endoscope_probe_score_bucket", "0.1", "words"] == 2 * 4  # 0, 1, 10, 11
    assert found["endoscope_generations_running",] == 0


def test_running_and_waiting_are_seen() -> None:
    with running(fake_served(0.02)) as (url, app):
        server = Serving(url, app)
        body = {"model": "fake", "prompt": "say:" + "x" * 16, "n": 6}
        asking = threading.Thread(target=server.post, args=("/v1/completions", body))
        asking.start()
        asyncio.run(eventually(lambda: server.engine.active))
        found = figures(server)
        asking.join()
    assert found["endoscope_generations_running",] == 4
    assert found["endoscope_generations_waiting",] == 2


def test_guard_of_one_text_and_of_several(serving: Serving) -> None:
    one = serving.post("/v1/guard", {"text": "Ask Mary Jones.", "policy": "names"})
    spans = [{"start": 4, "end": 14, "label": "NAME", "score": pytest.approx(0.9)}]
    assert one.json() == {"redacted": "Ask [NAME].", "spans": spans}
    both = serving.post("/v1/guard", {"texts": ["John Smith", "nobody"], "policy": "names"})
    results = both.json()["results"]
    assert [r["redacted"] for r in results] == ["[NAME]", "nobody"]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "text"),
        ({"text": "x", "texts": ["y"]}, 400, None),
        ({"texts": []}, 400, "texts"),
        ({"texts": ["x"] * 65}, 400, "texts"),
        ({"text": 3}, 400, "text"),
        ({"text": "x", "policy": "none"}, 404, "policy"),
        ({"texts": ["x" * 100_000, "y" * 100_001], "policy": "names"}, 413, None),
    ],
)
def test_guard_of_what_makes_no_sense(
    serving: Serving, body: dict[str, object], status: int, param: str | None
) -> None:
    answer = serving.post("/v1/guard", body)
    assert answer.status_code == status
    if param:
        assert answer.json()["error"]["param"] == param


def test_a_guard_must_be_named_where_there_are_several() -> None:
    with running(fake_served(guards={"a": fake_guard("a"), "b": fake_guard("b")})) as (url, app):
        answer = Serving(url, app).post("/v1/guard", {"text": "x"})
        assert answer.status_code == 400
        assert "a, b" in answer.json()["error"]["message"]
    with running(fake_served(guards={})) as (url, app):
        answer = Serving(url, app).post("/v1/guard", {"text": "x"})
        assert "--guard" in answer.json()["error"]["message"]


class WaitingScorer(PatternScorer):
    """Scores when it is told to."""

    go = threading.Event()

    def score(self, texts: Sequence[str]) -> list[TokenScores]:
        assert self.go.wait(20)
        return super().score(texts)


def test_a_guard_at_work_does_not_hold_up_others_and_fails_closed() -> None:
    slow = fake_guard("slow", scorers={"en": WaitingScorer({"NAME": NAMES["NAME"]})})
    with running(fake_served(guards={"slow": slow})) as (url, app):
        server = Serving(url, app)
        asking = threading.Thread(target=server.post, args=("/v1/guard", {"text": "Mary Jones"}))
        asking.start()
        for _ in range(3):
            assert httpx.get(f"{url}/health").status_code == 200
            assert server.post("/v1/completions", {"model": "fake", "prompt": "x"}).is_success
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{url}/v1/guard", json={"text": "John Smith"}, timeout=0.2)
        asyncio.run(eventually(lambda: app.edge.running == 1))  # who went waits no more
        WaitingScorer.go.set()
        asking.join()
        unread = server.post("/v1/guard", {"text": "田中太郎さん"})
        assert (unread.status_code, unread.json()["error"]["code"]) == (400, "unscored")
