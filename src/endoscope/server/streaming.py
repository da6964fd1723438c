"""Answering: as server-sent events or whole."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from anyio import CancelScope
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Send

from endoscope.server.answers import Answer
from endoscope.server.edge import unless_gone
from endoscope.server.errors import ApiError, fault
from endoscope.server.joining import join
from endoscope.server.logs import log
from endoscope.server.pieces import Piece
from endoscope.server.shapes import Shape
from endoscope.server.work import Job


async def answer(request: Request, job: Job, shape: Shape, *, stream: bool) -> Response:
    """Run a job and answer with it.

    The status of a stream is sent with its first token: what goes wrong before has its own.

    Raises:
        ApiError: the job failed, as a whole or before the stream began; or the client has gone.
    """
    pieces = job.pieces()
    if not stream:
        async with aclosing(pieces):
            wholes = await unless_gone(request, join(pieces, len(job.prepared.requests)))
        return _json(shape.whole(wholes, job.completion_tokens, job.timed_out))
    try:
        first = await unless_gone(request, anext(pieces))
    except BaseException:
        await pieces.aclose()
        raise
    return _Events(_events(first, pieces, job, shape))


async def _events(
    first: tuple[int, Piece], pieces: AsyncGenerator[tuple[int, Piece]], job: Job, shape: Shape
) -> AsyncGenerator[bytes]:
    try:
        async with aclosing(pieces):
            for beginning in shape.begin():
                yield _event(beginning)
            async for number, piece in _after(first, pieces):
                if (chunk := shape.chunk(number, piece, job.timed_out)) is not None:
                    yield _event(chunk)
        if shape.usage:
            yield _event(shape.last(job.completion_tokens))
        yield b"data: [DONE]\n\n"
    except ApiError as error:  # the status is gone; OpenAI's clients raise at this
        yield f"data: {_dumped(error)}\n\n".encode()
    except Exception as error:
        log("failed", "error", error=error, request=job.prepared.id)
        yield f"data: {_dumped(fault())}\n\n".encode()


async def _after(
    first: tuple[int, Piece], rest: AsyncIterator[tuple[int, Piece]]
) -> AsyncGenerator[tuple[int, Piece]]:
    yield first
    async for item in rest:
        yield item


def _event(answer: Answer) -> bytes:
    return f"data: {answer.json_text()}\n\n".encode()


def _dumped(error: ApiError) -> str:
    return json.dumps(error.body, ensure_ascii=False)


def _json(answer: Answer) -> Response:
    return Response(answer.json_text(), media_type="application/json")


class _Events(StreamingResponse):
    """Server-sent events, whose source is closed when they end, however they end."""

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._events = events

    async def stream_response(self, send: Send) -> None:
        """Send the events."""
        try:
            await super().stream_response(send)
        finally:
            with CancelScope(shield=True):
                await self._events.aclose()
