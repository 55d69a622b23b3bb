"""Reminders of what ends, through the running service: record, deadlines, outbox and a web hook, over five weeks and restarts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor import service
from monitor.clock import VirtualClock, VirtualTimeLoop
from monitor.emulator.app import create_app
from monitor.emulator.world import World
from monitor.openai_api.transport import in_process
from tests.flows.conftest import table
from tests.notify.conftest import Hook, hook

__all__ = ["hook"]

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
ADMIN = "sk-admin-TEST-reader-not-a-key-0001"
SECRET = "sk-svcacct-TEST-checkout-not-a-key-0001"
ENDS = START + timedelta(days=32, hours=3)
INTERVALS = '[monitor.intervals]\ncontrol = "30m"\nauth = "30m"\nmodel_access = "30m"\ninference = "30m"\n'


class Calendar(VirtualClock):
    """The wall clock, which can be put forward: days pass without anybody awake, as on a machine that slept."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


class Desk:
    """One watched project of an owner, whose key ends, and an admin key that ends a day later."""

    def __init__(self, folder: Path, loop: VirtualTimeLoop, hook: Hook) -> None:
        self.clock = Calendar(START, loop)
        self.hook = hook
        self._seen: dict[str, int] = {}
        self.world = World(lambda: self.clock.now().timestamp())
        self.world.add_model("gpt-4o")
        self.world.add_project("proj_checkout", "org-TEST", "checkout", created_at=1.0)
        self.world.add_key(SECRET, "proj_checkout", name="backend", created_at=1.0, expires_at=ENDS.timestamp())
        ends = (ENDS + timedelta(days=1)).timestamp()
        self.world.administration.add_admin_key(
            "org-TEST", ADMIN, "reader", ["api.management.read"], created_at=1.0, expires_at=ends
        )
        (folder / "admin.key").write_text(ADMIN)
        (folder / "checkout.key").write_text(SECRET)
        (folder / "monitor.toml").write_text(
            f'[monitor]\ndatabase_url = "sqlite:///{folder}/monitor.db"\n{INTERVALS}'
            '[[organizations]]\nname = "acme"\nadmin_key = "file:admin.key"\nbase_url = "http://127.0.0.1:9/v1"\n'
            + "".join(f'[[channels]]\nname = "{name}"\nurl = "env:{name.upper()}"\n' for name in ("payments", "search", "people"))
            + '[[routes]]\nchannel = "payments"\nowners = ["team-payments"]\n'
            '[[routes]]\nchannel = "search"\nowners = ["team-search"]\nprojects = ["search"]\n'
            '[[routes]]\nchannel = "people"\nenvironments = ["staging"]\n'
            + table("checkout", owner='"team-payments"', environment='"production"')
        )
        urls = {name.upper(): f"{hook.url}/{name}" for name in ("payments", "search", "people")}
        self.loaded = service.load(None, urls, folder)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The service, from its start to its stop."""
        transport = in_process(create_app(self.world))
        with service.store_of(self.loaded.settings) as engine:
            async with (
                service.api_client(self.loaded.settings, transport) as client,
                service.keeping(self.loaded, engine, client, self.clock, transport) as poller,
            ):
                stop = asyncio.Event()
                polling = asyncio.create_task(poller.run(stop))
                try:
                    yield
                finally:
                    stop.set()
                    await polling

    async def live(self, days_before: float, hours: float = 0.1) -> None:
        """Be awake for a while, so many days before the key ends."""
        self.clock.ahead += max(ENDS - timedelta(days=days_before) - self.clock.now(), timedelta(0))
        await asyncio.sleep(hours * 3600)

    def told(self, channel: str) -> list[str]:
        """The subjects of reminders that arrived at a channel since the last look."""
        found = [
            said["title"]
            for (_, path, _), said in zip(self.hook.asked, self.hook.said, strict=True)
            if path.endswith(channel) and "expires" in said["title"]
        ]
        seen = self._seen.get(channel, 0)
        self._seen[channel] = len(found)
        return found[seen:]


def test_each_owner_is_reminded_once_of_each_step_also_after_a_restart(tmp_path: Path, hook: Hook) -> None:
    steps: dict[float, str] = {30: "In 30 days", 14: "In 14 days", 7: "In 7 days", 1: "Tomorrow"}

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        desk = Desk(tmp_path, loop, hook)
        async with desk.running():
            await desk.live(31.5)
            assert desk.told("payments") == []
        for days, words in steps.items():
            async with desk.running():
                await desk.live(days)
                mine = desk.told("payments")
                assert [subject for subject in mine if "checkout/backend" in subject] == [
                    f"{words} · key checkout/backend expires"
                ], (days, mine)
                await desk.live(days - 0.2, hours=1.1 if days == 7 else 0.1)  # the next look at deadlines comes in an hour
                assert desk.told("payments") == []
            async with desk.running():  # whoever starts again goes on where it was
                await desk.live(days - 0.4)
                assert desk.told("payments") == []
        async with desk.running():
            await desk.live(-0.9)
            mine = desk.told("payments")
            assert "Passed · key checkout/backend expires" in mine, mine
            await desk.live(-1.1)
            assert desk.told("payments") == []
        # What has no owner and no project is everybody's: our own admin key.
        assert any("our admin key “reader” expires" in subject for subject in desk.told("people"))
        assert [subject for subject in desk.told("search") if "checkout" in subject] == []

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scene())
    for file in tmp_path.glob("monitor.db*"):
        assert b"not-a-key" not in file.read_bytes()
