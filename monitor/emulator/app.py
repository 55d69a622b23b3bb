"""The endpoints, as an ASGI application: served by uvicorn as a program, or in process under a client."""

import asyncio
import errno
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from monitor.emulator.answers import (
    REFUSALS,
    Answer,
    Ask,
    error,
    invalid_key,
    missing_scope,
    no_key,
    not_allowed,
    not_found,
    policy,
    retired,
)
from monitor.emulator.organization_api import administration_routes
from monitor.emulator.world import SCOPES, VERBS, Key, Model, Project, World

_CREATED = 1_715_367_049
_MOST_BODY = 1024 * 1024


def create_app(world: World) -> Starlette:
    """The application over `world`."""

    async def list_models(request: Request) -> Response:
        return await _Call(world, request).answer(_models)

    async def get_model(request: Request) -> Response:
        return await _Call(world, request).answer(_model)

    async def chat(request: Request) -> Response:
        return await _Call(world, request).answer(_chat)

    async def responses(request: Request) -> Response:
        return await _Call(world, request).answer(_responses)

    async def input_tokens(request: Request) -> Response:
        return await _Call(world, request).answer(_input_tokens)

    async def embeddings(request: Request) -> Response:
        return await _Call(world, request).answer(_embeddings)

    async def verbs(_: Request) -> Response:
        return JSONResponse({"verbs": list(VERBS), "projects": [project.name or project.id for project in world]})

    async def verb(request: Request) -> Response:
        try:
            arguments = json.loads(await request.body() or b"{}")
            if not isinstance(arguments, dict):
                raise ValueError("the arguments are a JSON object")  # noqa: TRY004 - the same answer as for any other mistake
            world.do(request.path_params["verb"], arguments)
        except (ValueError, RecursionError) as wrong:
            return JSONResponse({"error": str(wrong)}, 400)
        return JSONResponse({"ok": True})

    async def nothing(request: Request, _: Exception) -> Response:
        found = error(404, f"Invalid URL ({request.method} {request.url.path})")
        return Response(found.body, found.status, {"x-request-id": world.request_id()}, "application/json")

    async def not_so(request: Request, _: Exception) -> Response:
        found = error(405, f"Not allowed: {request.method} {request.url.path}")
        return Response(found.body, found.status, {"x-request-id": world.request_id()}, "application/json")

    routes = [
        Route("/v1/models", list_models),
        Route("/v1/models/{model:path}", get_model),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/responses", responses, methods=["POST"]),
        Route("/v1/responses/input_tokens", input_tokens, methods=["POST"]),
        Route("/v1/embeddings", embeddings, methods=["POST"]),
        *administration_routes(world),
        Route("/_emulator", verbs),
        Route("/_emulator/{verb}", verb, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={404: nothing, 405: not_so})


class _Refused(Exception):  # noqa: N818 - an answer on its way out
    def __init__(self, answer: Answer, headers: dict[str, str] | None = None) -> None:
        super().__init__(answer.status)
        self.answer = answer
        self.headers = headers or {}


class _Call:
    """One request on its way: who asks, what for, and what the headers of the answer will say."""

    def __init__(self, world: World, request: Request) -> None:
        world.advance()  # what just happened may concern the key
        self.world = world
        self.request = request
        self.path = request.url.path
        self.secret = _bearer(request)
        self.headers: dict[str, str] = {"x-request-id": world.request_id(), "openai-version": "2020-10-01"}
        self.latency = 0.12
        self.body: dict[str, Any] = {}
        self.model = request.path_params.get("model", "")
        found = world.find_key(self.secret) if self.secret else None
        self.key: Key | None = found[0] if found else None
        self.project: Project | None = found[1] if found else None

    @property
    def ask(self) -> Ask:
        """The request as refusals see it."""
        if self.project is None:
            return Ask(self.secret or "", model=self.model, endpoint=self.path)
        return Ask(self.secret or "", self.project.id, self.project.organization, self.model, self.path)

    async def answer(self, make: Any) -> Response:
        """Judge the request in the order in which the platform does, then let `make` answer it."""
        try:
            self._at_the_edge()
            self._who()
            made = await make(self)
        except _Refused as refused:
            self.headers |= refused.headers
            made = self._written(refused.answer)
        base = self.latency if made.status_code == 200 else min(self.latency, 0.09)
        took = self.world.latency(base, self.project.id if self.project else None)
        self.headers.setdefault("openai-processing-ms", str(max(1, int(took * 900))))
        await asyncio.sleep(took)
        broken = self.world.is_cut(self.ask)
        if broken is not None:
            return _Cut(broken)
        if not getattr(made, "edge", False):
            made.headers.update(self.headers)
        return made  # type: ignore[no-any-return]

    def _written(self, answer: Answer) -> Response:
        made = Response(answer.body, answer.status, dict(answer.headers), answer.headers.get("content-type", "application/json"))
        made.edge = answer.edge  # type: ignore[attr-defined]
        return made

    def _at_the_edge(self) -> None:
        known = self.project is not None
        refusal = self.world.refuse(("network.", "access.region_unsupported", "server."), self.ask, known=known)
        if refusal is not None:
            raise _Refused(refusal)

    def _who(self) -> None:
        ask = self.ask
        if not self.secret:
            raise _Refused(no_key(ask))
        if self.project is None or self.key is None:
            raise _Refused(invalid_key(ask))
        if not self.world.administration.admits(self.project):
            raise _Refused(REFUSALS["auth.unknown"](ask))  # what OpenAI says then, nobody has published
        refusal = self.world.refuse(("auth.",), ask)
        if refusal is not None:
            raise _Refused(refusal)
        project = self.request.headers.get("openai-project")
        if project and project != self.project.id:
            other = self.world.projects.get(project)
            if self.key.bound or other is None:
                raise _Refused(error(401, "OpenAI-Project header should match project for API key", "mismatched_project"))
            self.project = other  # whose lists, limits and bill it is
        organization = self.request.headers.get("openai-organization")
        if organization and organization != self.project.organization:
            text = "OpenAI-Organization header should match organization for API key"
            raise _Refused(error(401, text, "mismatched_organization"))
        needed = SCOPES.get(self.path) or (SCOPES["/v1/models"] if self.path.startswith("/v1/models/") else "api.responses.write")
        if self.key.scopes is not None and needed not in self.key.scopes:
            raise _Refused(
                missing_scope(Ask(ask.secret, ask.project, ask.organization, ask.model, ask.endpoint, {"scopes": [needed]}))
            )
        self.world.administration.touched(self.key)

    async def read(self) -> None:
        """Read the JSON body."""
        raw = await self.request.body()
        try:
            body = json.loads(raw) if len(raw) <= _MOST_BODY else None
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            text = "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
            text += "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
            raise _Refused(error(400, text))
        if not isinstance(body.get("model"), str) or not body["model"]:
            raise _Refused(error(400, "you must provide a model parameter"))
        self.body, self.model = body, body["model"]

    def may_use(self, *families: str) -> Model:
        """The model, if project and endpoint may have it."""
        assert self.project is not None  # noqa: S101 - _who() has found it
        model = self.world.models.get(self.model)
        ask = self.ask
        if model is None:
            raise _Refused(not_found(ask), self._owners() if self.path.endswith("/responses") else None)
        if model.retired:
            raise _Refused(retired(ask))
        if self.model in self.project.denied or (self.project.allowed is not None and self.model not in self.project.allowed):
            raise _Refused(not_allowed(ask))
        refusal = self.world.refuse(("access.",), ask)
        if refusal is not None:
            raise _Refused(refusal)
        if model.family not in families:
            raise _Refused(_wrong_endpoint(model, self.path))
        self.latency = model.latency
        return model

    def charge(self, tokens: int, *, shown: bool = True) -> None:
        """Money first, then limits: a project without credit never reaches its limits."""
        assert self.project is not None  # noqa: S101 - _who() has found it
        spent = self.world.administration.spent(self.project)
        refusal = REFUSALS[spent](self.ask) if spent else self.world.refuse(("quota.",), self.ask)
        if refusal is not None:
            raise _Refused(refusal)
        self.headers |= self._owners()
        refusal = self.world.refuse(("rate.", "client.", "unknown"), self.ask)
        reached, limits = self.world.take(self.ask, tokens)
        if shown:
            self.headers |= limits
        if reached is not None or refusal is not None:
            raise _Refused(reached or refusal)  # type: ignore[arg-type]

    def used(self, input_tokens: int, output_tokens: int) -> None:
        """The model answers: the call counts as usage."""
        assert self.key is not None  # noqa: S101 - _who() has found it
        self.world.administration.used(self.key, self.model, input_tokens, output_tokens)

    def as_policy_wants(self) -> None:
        """Service tier and hosted tools, as the project allows them."""
        assert self.project is not None  # noqa: S101 - _who() has found it
        record = self.world.administration.projects[self.project.id]
        tier = self.body.get("service_tier")
        if tier in ("flex", "fast", "ultrafast") and record.tiers != "all" and tier not in record.tiers:
            raise _Refused(policy(self.ask))
        tools = self.body.get("tools")
        for tool in tools if isinstance(tools, list) else []:
            kind = str(tool.get("type")) if isinstance(tool, dict) else ""
            if kind.removesuffix("_preview") in record.tools_off:
                raise _Refused(error(400, f"Hosted tool '{kind}' is not enabled for this project.", param="tools"))

    def _owners(self) -> dict[str, str]:
        assert self.project is not None  # noqa: S101 - _who() has found it
        return {"openai-organization": self.world.slugs[self.project.organization], "openai-project": self.project.id}


class _Cut(Response):
    """A connection that breaks: in the middle of an answer, or for want of trust."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self._how = how

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's shape
        if self._how == "tls":
            raise ssl.SSLCertVerificationError(1, "self-signed certificate")
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"object": "li', "more_body": True})
        raise ConnectionResetError(errno.ECONNRESET, "cut on purpose")


def _bearer(request: Request) -> str | None:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def _wrong_endpoint(model: Model, path: str) -> Answer:
    if model.family == "responses":
        return error(404, "This model is only supported in v1/responses and not in v1/chat/completions.", param="model")
    if path == "/v1/embeddings":
        return error(403, "You are not allowed to generate embeddings from this model")
    text = "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use v1/embeddings?"
    return error(404, text, param="model")


# Endpoints ----------------------------------------------------------------------------------------------------------------------


def _described(model: Model) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": _CREATED,
        "owned_by": "system",
        "shutdown_date": model.shutdown_date,
    }


async def _models(call: _Call) -> Response:
    return JSONResponse({"object": "list", "data": [_described(model) for model in call.world.visible()]})


async def _model(call: _Call) -> Response:
    model = call.world.models.get(call.model)
    if model is None or model.retired:
        raise _Refused(not_found(call.ask))
    return JSONResponse(_described(model))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


async def _chat(call: _Call) -> Response:
    await call.read()
    call.may_use("chat")
    messages = call.body.get("messages")
    tokens = len(_text(messages)) // 4 + 1
    call.charge(tokens + _wanted(call.body.get("max_completion_tokens") or call.body.get("max_tokens")))
    if not isinstance(messages, list) or not messages:
        raise _Refused(
            error(400, "Invalid 'messages': empty array. Expected an array with minimum length 1.", "empty_array", param="messages")
        )
    if any(isinstance(part, dict) and "type" not in part for message in messages for part in _parts(message)):
        text = "Missing required parameter: 'messages[0].content[0].type'."
        raise _Refused(error(400, text, "missing_required_parameter", param="messages[0].content[0].type"))
    call.as_policy_wants()
    call.used(8, 9)
    usage = {"prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 17}
    said: dict[str, Any] = {
        "id": f"chatcmpl-{call.world.request_id()[4:20]}",
        "created": int(call.world.clock()),
        "model": call.model,
    }
    if call.body.get("stream"):
        chunk = said | {
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {"content": "pong"}, "finish_reason": "stop"}],
        }
        return _stream(f"data: {json.dumps(chunk)}\n\n", "data: [DONE]\n\n")
    choice = {"index": 0, "message": {"role": "assistant", "content": "pong"}, "finish_reason": "stop"}
    return JSONResponse(said | {"object": "chat.completion", "choices": [choice], "usage": usage})


def _parts(message: Any) -> list[Any]:
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, list) else []


def _wanted(value: Any) -> int:
    return value if type(value) is int and 0 < value < 1_000_000 else 16


async def _responses(call: _Call) -> Response:
    await call.read()
    call.may_use("chat", "responses")
    streamed = bool(call.body.get("stream"))
    most = call.body.get("max_output_tokens")
    call.charge(len(_text(call.body.get("input"))) // 4 + _wanted(most), shown=not streamed or call.world.stream_limits)
    if type(most) is int and most < 16:
        text = f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got {most} instead."
        raise _Refused(error(400, text, "integer_below_min_value", param="max_output_tokens"))
    call.as_policy_wants()
    call.used(8, 9)
    made: dict[str, Any] = {
        "id": f"resp_{call.world.request_id()[4:36]}",
        "object": "response",
        "created_at": int(call.world.clock()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": call.model,
        "output": [
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "pong", "annotations": []}],
            }
        ],
        "usage": {"input_tokens": 8, "output_tokens": 9, "total_tokens": 17},
    }
    if streamed:
        failed = call.world.breaks()
        last = (
            made | {"status": "failed", "error": {"code": "server_error", "message": "The server had an error."}}
            if failed
            else made
        )
        kind = "response.failed" if failed else "response.completed"
        return _stream(
            _event("response.created", {"response": made | {"status": "in_progress", "output": []}, "sequence_number": 0}),
            _event(kind, {"response": last, "sequence_number": 1}),
        )
    return JSONResponse(made)


async def _input_tokens(call: _Call) -> Response:
    await call.read()
    call.may_use("chat", "responses")
    call.headers |= call._owners()
    return JSONResponse({"object": "response.input_tokens", "input_tokens": len(_text(call.body.get("input"))) // 4 + 7})


async def _embeddings(call: _Call) -> Response:
    await call.read()
    call.may_use("embeddings")
    given = call.body.get("input")
    tokens = len(_text(given)) // 4 + 1
    call.charge(tokens)
    if not given:
        raise _Refused(
            error(400, "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.")
        )
    call.used(tokens, 0)
    vector = {"object": "embedding", "index": 0, "embedding": [0.0125] * 8}
    used = {"prompt_tokens": tokens, "total_tokens": tokens}
    return JSONResponse({"object": "list", "data": [vector], "model": call.model, "usage": used})


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n"


def _stream(*pieces: str) -> Response:
    async def each() -> AsyncIterator[str]:
        for piece in pieces:
            yield piece

    return StreamingResponse(each(), media_type="text/event-stream")
