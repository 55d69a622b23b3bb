"""The dashboard's launcher: `python -m monitor up`, `streamlit run app.py`, `uvicorn app:app` or `python app.py`.

Its lifespan starts the poller, loads what pages need before the first viewer waits for it, and stops everything in order.
"""

import contextlib
import gc
import os
import re
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config, logger
from streamlit.config_option import ConfigOption

ROOT = Path(__file__).resolve().parent

_HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


def _shut_doors() -> None:
    """Apply our Streamlit settings also where the working folder has none: the defaults listen everywhere and phone home."""
    stored = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    config.get_config_options()
    for section, options in stored.items():
        for name, value in options.items():
            option = f"{section}.{name}"
            if section != "theme" and config.get_where_defined(option) == ConfigOption.DEFAULT_DEFINITION:
                config.set_option(option, value)
    logger.set_log_level(config.get_option("logger.level").upper())


_PROBED = re.compile(r"/[a-z_]+/_stcore/(health|host-config)")
"""Streamlit's page looks for its server under its own path first."""


class Front:
    """In front of Streamlit: security headers, and quiet. Plain ASGI: Starlette's own base class disturbs websockets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with headers added to every HTTP answer: pages are not to be framed, sniffed or told about."""
        if scope["type"] == "http" and _PROBED.fullmatch(scope["path"]):
            # Neither a success, which would make the page's own path the server's, nor an error, which browsers log.
            await Response(status_code=300)(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        await self._app(scope, receive, guarded if scope["type"] == "http" else send)


@contextlib.asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[None]:
    """Warm up, run the poller beside us, stop it at the end."""
    import pandas  # noqa: F401, ICN001 - loaded before the first viewer waits for it
    import plotly.graph_objects  # noqa: F401

    from monitor import service
    from monitor.config import ConfigErrors
    from monitor.store.engine import StoreError

    try:
        async with service.children(os.environ, Path.cwd()) as settings:
            os.environ["MONITOR_DATABASE_URL"] = settings.database_url
            # Streamlit collects garbage after every run; without this it walks through pandas and plotly each time.
            gc.collect()
            gc.freeze()
            yield
    except (ConfigErrors, StoreError) as wrong:
        print(wrong, file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None


_shut_doors()
app = st.App(ROOT / "monitor" / "ui" / "main.py", lifespan=lifespan, middleware=[Middleware(Front)])

if __name__ == "__main__":
    from monitor.cli import main

    sys.argv[1:1] = ["up"]
    main()
