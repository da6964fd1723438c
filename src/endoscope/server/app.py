"""The application: which path does what."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Body, FastAPI, Request, Response, Security
from fastapi.security import HTTPBearer

from endoscope import __version__
from endoscope.server import prepare
from endoscope.server.answers import (
    ChatCompletion,
    Completion,
    GuardedText,
    GuardedTexts,
    Health,
    ModelAbout,
    ModelList,
)
from endoscope.server.bodies import JsonRoute
from endoscope.server.description import ABOUT, TAGS, describe, errors
from endoscope.server.edge import Edge, unless_gone
from endoscope.server.errors import ApiError, install, overloaded
from endoscope.server.examples import CHATS, COMPLETIONS, GUARD
from endoscope.server.hooks import Hooks
from endoscope.server.metrics import CONTENT_TYPE, Metrics
from endoscope.server.redacting import Redacting
from endoscope.server.sent import UNSUPPORTED, ChatSent, CompletionSent, GuardSent, GuardText
from endoscope.server.served import Served
from endoscope.server.shapes import ChatShape, CompletionShape
from endoscope.server.streaming import answer
from endoscope.server.work import Worker

_FIGURES = {"content": {"text/plain": {"schema": {"type": "string"}}}}
_DATA = {"type": "string", "description": "A chunk as JSON; the last one is `[DONE]`."}
_EVENT = {"type": "object", "properties": {"data": _DATA}, "required": ["data"]}
_EVENTS = {"content": {"text/event-stream": {"schema": _EVENT}}}


class App:
    """The server's application, with what it has loaded.

    Attributes:
        edge: the ASGI application.
        worker: runs generations.

    Args:
        served: what is loaded.
        hosts: names that the server may be called by (see `Edge`).
    """

    def __init__(self, served: Served, hosts: frozenset[str] | None = None) -> None:
        self.served = served
        self.metrics = Metrics()
        self.hooks = Hooks()
        self.worker = Worker(served, self.metrics, self.hooks)
        self.redacting = Redacting(served.guards, served.limits.waiting)
        self.began = int(time.time())
        app = FastAPI(
            title="Endoscope",
            version=__version__,
            description=ABOUT,
            openapi_tags=TAGS,
            redoc_url=None,
            lifespan=self._lifespan,
        )
        app.include_router(self._operate())
        app.include_router(self._generate())
        install(app, UNSUPPORTED)
        describe(app, served)
        self.fastapi = app
        self.edge = Edge(app, keys=served.keys, hosts=hosts, count=self._count)

    def _count(self, path: str, status: int) -> None:
        self.metrics.responses.labels(path, str(status)).inc()

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncGenerator[None]:
        yield
        self.redacting.close()
        await self.hooks.close()

    def _generate(self) -> APIRouter:
        """The paths under `/v1`, which need the key."""
        bearer = HTTPBearer(auto_error=False, description="Needed where the server has keys.")
        router = APIRouter(
            prefix="/v1",
            route_class=JsonRoute,
            dependencies=[Security(bearer)],  # described here, asked for at the edge
            responses=errors(401, 503),
        )
        router.get("/models", tags=["models"], summary="What can be named as `model`")(self.models)
        router.get(
            "/models/{model_id:path}",
            tags=["models"],
            summary="One of them",
            responses=errors(404),
            response_model_exclude_unset=True,
        )(self.model)
        for path, act, summary, whole in (
            ("/chat/completions", self.chat, "Answer a conversation", ChatCompletion),
            ("/completions", self.complete, "Go on from a prompt", Completion),
        ):
            router.post(
                path,
                tags=["generate"],
                summary=summary,
                response_model=None,
                responses={
                    200: {"model": whole, "description": "The answer, or its events.", **_EVENTS},
                    **errors(400, 404, 413, 415, 429, 500),
                },
            )(act)
        router.post(
            "/guard",
            tags=["guard"],
            summary="Find personal data in texts and take it out",
            response_model=GuardedText | GuardedTexts,
            responses=errors(400, 404, 413, 415, 429, 500),
        )(self.guard)
        return router

    def _operate(self) -> APIRouter:
        router = APIRouter(tags=["operate"])
        router.get("/health", summary="Whether the server is alive")(self.health)
        router.get("/ready", summary="Whether it takes requests", responses=errors(503))(self.ready)
        router.get(
            "/metrics",
            summary="Figures for Prometheus",
            response_class=Response,
            responses={200: _FIGURES, **errors(401)},
        )(self.figures)
        return router

    async def health(self) -> Health:
        """Answer while the process lives."""
        return Health(status="ok")

    async def ready(self) -> Health:
        """Answer 200 if the model is loaded and works and the server is not ending, else 503."""
        if self.edge.draining or not self.served.alive():
            raise overloaded(503, "The server does not take requests now.", "not_ready", 5)
        return Health(status="ready")

    async def figures(self) -> Response:
        """Latencies, outcomes, tokens, distribution of probe scores, what guards did."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    async def models(self) -> ModelList:
        """The model and each of its variants."""
        return ModelList(data=[self._about(name) for name in self.served.models])

    async def model(self, model_id: str) -> ModelAbout:
        """One of the models."""
        if model_id not in self.served.models:
            known = ", ".join(self.served.models)
            message = f"There is no such model here. There are: {known}."
            raise ApiError(404, message, param="model", code="model_not_found")
        return self._about(model_id)

    def _about(self, name: str) -> ModelAbout:
        about = ModelAbout(id=name, created=self.began)
        if name != self.served.name:
            about.parent = self.served.name
        return about

    async def chat(
        self, request: Request, sent: Annotated[ChatSent, Body(openapi_examples=CHATS)]
    ) -> Response:
        """Answer as OpenAI's chat API does; with `endoscope`, steered, read and guarded."""
        prepared = await asyncio.to_thread(prepare.chat, self.served, sent, _id(request))
        shape = ChatShape(self.served, prepared, usage=_wants_usage(sent))
        return await self._run(request, prepared, shape, bool(sent.stream))

    async def complete(
        self, request: Request, sent: Annotated[CompletionSent, Body(openapi_examples=COMPLETIONS)]
    ) -> Response:
        """Go on from texts or token ids, as OpenAI's completions API does."""
        prepared = await asyncio.to_thread(prepare.completion, self.served, sent, _id(request))
        shape = CompletionShape(self.served, prepared, usage=_wants_usage(sent))
        return await self._run(request, prepared, shape, bool(sent.stream))

    async def _run(
        self,
        request: Request,
        prepared: prepare.Prepared,
        shape: ChatShape | CompletionShape,
        stream: bool,
    ) -> Response:
        job = self.worker.start(prepared, request.scope["endoscope.note"])
        return await answer(request, job, shape, stream=stream)

    async def guard(
        self,
        request: Request,
        sent: Annotated[GuardSent, Body(openapi_examples=GUARD)],
    ) -> GuardedText | GuardedTexts:
        """Redact one text or several with a policy that the server has loaded."""
        texts = [sent.text] if isinstance(sent, GuardText) else sent.texts
        note = request.scope["endoscope.note"]
        results = await unless_gone(request, self.redacting.redact(texts, sent.policy, note))
        return results[0] if isinstance(sent, GuardText) else GuardedTexts(results=results)


def _id(request: Request) -> str:
    return str(request.scope["endoscope.id"])


def _wants_usage(sent: ChatSent | CompletionSent) -> bool:
    return bool(sent.stream_options and sent.stream_options.include_usage)
