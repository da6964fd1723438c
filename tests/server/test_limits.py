"""Places, waiting, time limits, clients that go away, and the end of the server."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from endoscope.engine.requests import Request, Step
from endoscope.engine.streaming import EngineFailedError
from endoscope.errors import InputError
from endoscope.server.errors import ApiError
from endoscope.server.served import Limits
from endoscope.server.slots import Slots
from tests.server.conftest import Serving
from tests.server.serving import eventually, fake_served, running, signalled

SLOW = {"model": "fake", "prompt": "say:" + "x" * 100, "max_tokens": 200}


@pytest.fixture
def slow() -> Iterator[Serving]:
    """Two places, two more may wait, 15 ms a token."""
    limits = Limits(requests=2, waiting=2, prompt_tokens=500, tokens=200, seconds=30)
    with running(fake_served(0.015, limits=limits)) as (url, app):
        yield Serving(url, app)


def test_more_than_may_wait_get_429(slow: Serving) -> None:
    async def several() -> list[int]:
        async with httpx.AsyncClient(base_url=slow.url, timeout=30) as client:
            ask = [asyncio.create_task(client.post("/v1/completions", json=SLOW)) for _ in range(4)]
            await eventually(lambda: slow.app.worker.slots.waiting == 2)
            refused = await client.post("/v1/completions", json=SLOW)
            assert refused.json()["error"]["code"] == "too_many_requests"
            assert int(refused.headers["retry-after"]) >= 1
            return [refused.status_code, *[(await task).status_code for task in ask]]

    assert asyncio.run(several()) == [429, 200, 200, 200, 200]
    assert slow.engine.most_active == 2


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_place(slow: Serving, stream: bool) -> None:
    async def leave() -> None:
        async with httpx.AsyncClient(base_url=slow.url, timeout=30) as client:
            body = SLOW | {"stream": stream}
            asking = asyncio.create_task(_read(client, body))
            await eventually(lambda: slow.engine.active)
            await asyncio.sleep(0.2)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await eventually(lambda: not slow.engine.active, 1.5)
            assert slow.app.worker.slots.running == 0
            assert slow.engine.cancelled == [slow.engine.seen[0].id]

    asyncio.run(leave())


async def _read(client: httpx.AsyncClient, body: Any) -> None:
    async with client.stream("POST", "/v1/completions", json=body) as response:
        async for _ in response.aiter_lines():
            pass


def test_closing_a_stream_of_the_official_client_frees_the_place(slow: Serving) -> None:
    stream = slow.client().completions.create(**SLOW, stream=True)
    assert next(iter(stream)).choices[0].text == "x"
    assert slow.app.worker.slots.running == 1
    stream.close()
    asyncio.run(eventually(lambda: slow.app.worker.slots.running == 0, 1.5))


def test_who_waits_and_goes_away_leaves_the_line(slow: Serving) -> None:
    async def leave() -> None:
        async with httpx.AsyncClient(base_url=slow.url, timeout=30) as client:
            first = [asyncio.create_task(_read(client, SLOW)) for _ in range(2)]
            await eventually(lambda: len(slow.engine.active) == 2)
            waiting = asyncio.create_task(_read(client, SLOW))
            await eventually(lambda: slow.app.worker.slots.waiting == 1)
            waiting.cancel()
            await eventually(lambda: slow.app.worker.slots.waiting == 0)
            await asyncio.gather(*first)
            assert len(slow.engine.seen) == 2

    asyncio.run(leave())


@pytest.mark.parametrize("stream", [False, True])
def test_the_time_limit_ends_an_answer_with_what_it_has(stream: bool) -> None:
    limits = Limits(requests=2, waiting=2, seconds=2.0, tokens=200)
    with running(fake_served(0.1, limits=limits)) as (url, app):
        client = Serving(url, app).client()
        made: Any = client.completions.create(
            **SLOW, stream=stream, extra_body={"endoscope": {"probes": []}}
        )
        parts = [p.choices[0] for p in (made if stream else [made])]
        text = "".join(p.text for p in parts)
        assert 1 <= len(text) < 100
        assert set(text) == {"x"}
        assert parts[-1].finish_reason == "length"
        assert parts[-1].endoscope["timed_out"] is True


def test_of_several_choices_the_time_limit_ends_those_that_wait() -> None:
    limits = Limits(requests=1, waiting=2, seconds=2.0, tokens=200)
    with running(fake_served(0.1, limits=limits)) as (url, app):
        answer = Serving(url, app).client().completions.create(**SLOW, n=2)
        first, second = answer.choices
        assert len(first.text) > 1
        assert (second.text, second.finish_reason) == ("", "length")
        assert app.worker.slots.running == 0


@pytest.mark.parametrize("stream", [False, True])
def test_who_has_no_token_in_time_is_told_to_try_again(stream: bool) -> None:
    limits = Limits(requests=1, waiting=2, seconds=0.5, tokens=200)
    with running(fake_served(5.0, limits=limits)) as (url, app):
        late = Serving(url, app).post("/v1/completions", SLOW | {"n": 2, "stream": stream})
        assert late.status_code == 503
        assert late.json()["error"]["code"] == "timeout"
        assert "retry-after" in late.headers
        assert app.worker.slots.running == 0


def test_many_choices_take_turns(slow: Serving) -> None:
    answer = slow.client().completions.create(model="fake", prompt="say:ab", n=8)
    assert [c.text for c in answer.choices] == ["ab"] * 8
    assert slow.engine.most_active == 2


def test_a_dead_engine_is_a_503(slow: Serving) -> None:
    assert httpx.get(f"{slow.url}/ready").status_code == 200
    slow.engine.alive = False
    assert httpx.get(f"{slow.url}/ready").status_code == 503
    assert httpx.get(f"{slow.url}/health").status_code == 200
    answer = slow.post("/v1/completions", SLOW)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_failed")


def ending(grace: float) -> tuple[int, list[httpx.Response | Exception], float]:
    """End a server in the midst of an answer; what came of a new request and of the running one."""
    found: list[httpx.Response | Exception] = []
    with running(fake_served(0.02), grace=grace) as (url, app):
        server = Serving(url, app)

        def ask() -> None:
            try:
                found.append(server.post("/v1/completions", SLOW))
            except httpx.HTTPError as error:
                found.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        asyncio.run(eventually(lambda: server.engine.active))
        with httpx.Client(base_url=url) as client:
            client.get("/health")
            began = time.monotonic()
            signalled(app)
            asyncio.run(eventually(lambda: app.edge.draining))
            late = client.post("/v1/completions", json=SLOW)
            assert late.headers["retry-after"]
            assert client.get("/ready").status_code == 503
            asking.join(20)
    return late.status_code, found, time.monotonic() - began


def test_at_the_end_running_answers_finish() -> None:
    late, (answer,), _ = ending(grace=20)
    assert late == 503
    assert isinstance(answer, httpx.Response)
    assert answer.json()["choices"][0]["text"] == "x" * 100


def test_after_the_grace_period_they_end_with_what_they_have() -> None:
    late, (answer,), seconds = ending(grace=0.3)
    assert late == 503
    assert isinstance(answer, httpx.Response)
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert 1 <= len(choice["text"]) < 100
    assert seconds < 5


def test_who_waits_at_the_end_is_told_to_try_again() -> None:
    limits = Limits(requests=1, waiting=2, seconds=30, tokens=200)
    with running(fake_served(0.02, limits=limits), grace=0.1) as (url, app):

        async def both() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=url, timeout=20) as client:
                ask = [asyncio.create_task(client.post("/v1/completions", json=SLOW)) for _ in "ab"]
                await eventually(lambda: app.worker.slots.waiting == 1)
                signalled(app)
                return await asyncio.gather(*ask)

        first, second = sorted(asyncio.run(both()), key=lambda answer: answer.status_code)
    assert first.json()["choices"][0]["finish_reason"] == "length"
    assert (second.status_code, second.json()["error"]["code"]) == (503, "timeout")


@contextmanager
def half_a_body(url: str) -> Iterator[socket.socket]:
    """A connection on which the beginning of a request was sent."""
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n{{".encode())
        yield connection


def test_a_body_that_does_not_come_has_an_end() -> None:
    with running(fake_served()) as (url, app):
        app.edge.body_seconds = 0.1
        with half_a_body(url) as connection:
            assert b" 408 " in connection.recv(100)
        asyncio.run(eventually(lambda: not app.edge.running))


def test_who_goes_in_the_midst_of_a_body_is_no_fault_of_the_server() -> None:
    with running(fake_served()) as (url, app):
        with half_a_body(url):
            asyncio.run(eventually(lambda: app.edge.running))
        asyncio.run(eventually(lambda: not app.edge.running))
        counted = app.metrics.text().decode()
        assert 'endoscope_responses_total{path="/v1/completions",status="499"} 1.0' in counted
        assert 'status="500"' not in counted


def test_an_engine_that_has_ended_and_a_request_that_it_refuses() -> None:
    served = fake_served()
    refusals = [InputError("It does not fit.", "Mend it."), EngineFailedError("closed")]

    def submit(request: Request) -> AsyncIterator[Step]:
        raise refusals.pop(0)

    served.engine.submit = submit  # type: ignore[method-assign]
    with running(served) as (url, app):
        refused = Serving(url, app).post("/v1/completions", SLOW)
        ended = Serving(url, app).post("/v1/completions", SLOW | {"stream": True})
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "It does not fit. Mend it."
    assert (ended.status_code, ended.json()["error"]["code"]) == (503, "engine_failed")


def test_places_are_given_in_order() -> None:
    async def run() -> list[int]:
        slots, order = Slots(1, 10), []

        async def hold(number: int) -> None:
            await slots.take()
            order.append(number)
            await asyncio.sleep(0)
            slots.give()

        tasks = [asyncio.create_task(hold(i)) for i in range(5)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (slots.running, slots.waiting) == (0, 0)
        return order

    assert asyncio.run(run()) == [0, 1, 3, 4]


def test_a_place_given_to_one_who_goes_at_that_moment_goes_on() -> None:
    async def run() -> None:
        slots = Slots(1, 10)
        await slots.take()
        leaving = asyncio.create_task(slots.take())
        staying = asyncio.create_task(slots.take())
        await asyncio.sleep(0)
        slots.give()
        leaving.cancel()
        await asyncio.wait_for(staying, 1)
        slots.give()
        assert slots.running == 0

    asyncio.run(run())


def test_no_place_to_wait() -> None:
    async def run() -> None:
        slots = Slots(1, 0)
        slots.admit()
        await slots.take()
        with pytest.raises(ApiError):
            slots.admit()

    asyncio.run(run())
