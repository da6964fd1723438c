"""Requests from event loops and threads, run by one worker."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from tests.engine.streams import greedy, opened, readout, run, same

from endoscope.engine import Model
from endoscope.engine.requests import Limits, Request, Step
from endoscope.engine.streaming import EngineFailedError, Steps
from endoscope.errors import InputError
from endoscope.interventions import add

pytestmark = pytest.mark.usefixtures("one_thread")

BOS = 256
LIMITS = Limits(requests=3, prompt_tokens=16)


@pytest.fixture
def model() -> Iterator[Model]:
    model = opened("llama")
    model.engine.streams(LIMITS)
    yield model
    model.engine.close()


async def collect(steps: Steps) -> list[Step]:
    return [step async for step in steps]


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does; a minute is for ever."""
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


def test_many_at_once_come_to_what_each_comes_to_alone(model: Model) -> None:
    vector = torch.eye(32)[0]
    requests = [
        greedy(
            str(i),
            [BOS, *range(3 * i)],
            6 + i,
            {"p": readout("resid_post.1")} if i % 2 else {},
            (add(vector, float(i), site="resid_post.0", units="absolute"),) if i % 3 else (),
        )
        for i in range(9)
    ]

    async def all_of_them() -> list[list[Step]]:
        return await asyncio.gather(*(collect(model.engine.submit(one)) for one in requests))

    for request, steps in zip(requests, asyncio.run(all_of_them()), strict=True):
        same(steps, run(model.engine.core(), [(0, request)])[request.id])


def test_several_threads_and_loops_are_served(model: Model) -> None:
    request = greedy("x", [BOS, 65], 10)
    expected = [step.token_id for step in run(model.engine.core(), [(0, request)])["x"]]
    found: dict[str, list[int]] = {}

    def in_a_loop(name: str) -> None:
        steps = asyncio.run(_collected(model, greedy(name, [BOS, 65], 10)))
        found[name] = [step.token_id for step in steps]

    def without(name: str) -> None:
        found[name] = [step.token_id for step in model.engine.iterate(greedy(name, [BOS, 65], 10))]

    threads = [
        threading.Thread(target=kind, args=(f"{kind.__name__}{i}",))
        for kind in (in_a_loop, without)
        for i in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 6
    assert all(tokens == expected for tokens in found.values())


async def _collected(model: Model, request: Request) -> list[Step]:
    return await collect(model.engine.submit(request))


def test_cancelling_gives_a_last_step(model: Model) -> None:
    async def some() -> list[Step]:
        steps = model.engine.submit(greedy("a", [BOS], 500))
        out = [await anext(steps), await anext(steps)]
        model.engine.cancel("a")
        return out + await collect(steps)

    steps = asyncio.run(some())
    assert [step.finish for step in steps[:2]] == [None, None]
    assert steps[-1].finish == "cancelled"
    assert len(steps) < 200


@pytest.mark.parametrize("way", ["aclose", "task", "dropped", "break"])
def test_who_goes_away_cancels(model: Model, way: str) -> None:
    core = model.engine.streams()._core

    async def some() -> None:
        steps = model.engine.submit(greedy("a", [BOS], 500))
        await anext(steps)
        if way == "aclose":
            await steps.aclose()
            assert [step async for step in steps] == []
        elif way == "task":
            task = asyncio.create_task(collect(steps))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif way == "break":
            async for _ in steps:
                break
        del steps
        while not core.idle:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(some(), 60))
    assert core.cache_bytes == 0


def test_who_stops_a_plain_loop_cancels(model: Model) -> None:
    for step in model.engine.iterate(greedy("a", [BOS], 500)):
        if step.position > 3:
            break
    until(lambda: model.engine.streams()._core.idle)


def test_a_loop_that_was_closed_is_given_up(model: Model) -> None:
    loop = asyncio.new_event_loop()

    async def begin() -> Steps:
        return model.engine.submit(greedy("a", [BOS], 500))

    kept = loop.run_until_complete(begin())
    loop.close()
    until(lambda: not model.engine.streams()._sinks)
    assert model.engine.streams()._core.idle
    del kept


def test_what_is_wrong_is_said_at_once(model: Model) -> None:
    async def wrong() -> None:
        with pytest.raises(InputError, match="does not know"):
            model.engine.submit(greedy("a", [999], 5))
        first = model.engine.submit(greedy("a", [BOS], 500))
        with pytest.raises(InputError, match="of this id"):
            model.engine.submit(greedy("a", [BOS], 5))
        await first.aclose()

    asyncio.run(wrong())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_crash_ends_everybody_and_is_not_silent(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = model.engine.streams()._core
    real, calls, all_in = core.step, [], []

    def step() -> list[tuple[str, Step]]:
        calls.append(1)
        if len(calls) > 5 and all_in:
            raise ValueError("a secret")
        return real()

    monkeypatch.setattr(core, "step", step)

    async def some() -> list[list[Step]]:
        running = [model.engine.submit(greedy(str(i), [BOS], 500)) for i in range(5)]
        all_in.append(1)
        return await asyncio.gather(*map(collect, running))

    for steps in asyncio.run(asyncio.wait_for(some(), 60)):
        assert steps[-1].finish == "error"
        assert steps[-1].error == "The engine failed (ValueError)."
    with pytest.raises(EngineFailedError, match="ValueError"):
        model.engine.iterate(greedy("late", [BOS], 5))


def test_closing_ends_what_runs(model: Model) -> None:
    streams = model.engine.streams()

    async def some() -> list[Step]:
        steps = model.engine.submit(greedy("a", [BOS], 500))
        first = await anext(steps)
        await asyncio.to_thread(model.engine.close)
        return [first, *await collect(steps)]

    steps = asyncio.run(asyncio.wait_for(some(), 60))
    assert steps[-1].finish == "cancelled"
    with pytest.raises(EngineFailedError, match="closed"):
        streams.iterate(greedy("b", [BOS], 5))
    assert not streams._thread.is_alive()  # type: ignore[union-attr]


def test_capturing_while_requests_run_disturbs_neither(model: Model) -> None:
    request = greedy("a", [BOS, 70], 60, {"p": readout("resid_post.1")})
    expected = run(model.engine.core(), [(0, request)])["a"]
    from endoscope.engine.batching import Row
    from endoscope.models import Site

    site = Site.parse("resid_post.1")
    rows = [Row([BOS, 1, 2, 3])]
    _, alone = next(model.engine.read(rows, [site], batch_tokens=64))
    steps: list[Step] = []
    thread = threading.Thread(target=lambda: steps.extend(model.engine.iterate(request)))
    thread.start()
    while thread.is_alive():
        _, beside = next(model.engine.read(rows, [site], batch_tokens=64))
        assert (beside[site] - alone[site]).abs().max() < 1e-6
    same(steps, expected)
