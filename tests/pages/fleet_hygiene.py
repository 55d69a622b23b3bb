"""A fleet with every kind of hygiene, as the pages meet it."""

from datetime import timedelta

from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.hygiene import HygienePolicy
from monitor.domain.inventory import ApiKey, Fingerprint, KeyKind, Project
from monitor.domain.organization import Item, ItemKind
from monitor.store import changes, queries, scores
from monitor.store.engine import open_engine
from tests.organization import DAY, HOUR, Record, api_key, seconds
from tests.pages.conftest import Store, burning, project


def printed(number: int, tail: str = "wxyz") -> Fingerprint:
    return Fingerprint(f"{number:016x}…{tail}")


def fleet(new: bool = True) -> tuple[Project, ...]:
    """`checkout` has rotated its key from a person's to a service account's where `new`."""
    rotated = ApiKey("backend", "env:CHECKOUT", KeyKind.SERVICE_ACCOUNT, printed(2, "new2"))
    before = ApiKey("backend", "env:CHECKOUT", KeyKind.PROJECT_USER, printed(1, "old1"))
    shared = printed(9, "same")
    return (
        project("checkout", environment="production", services=("shop", "cart"), keys=(rotated if new else before,)),
        project(
            "legacy",
            environment="production",
            project_id=None,
            keys=(ApiKey("backend", "env:LEGACY", KeyKind.USER_LEGACY, printed(3, "lega")),),
        ),
        project(
            "search",
            environment="production",
            denied_models=("gpt-4-32k",),
            keys=(ApiKey("backend", "env:SEARCH", KeyKind.PROJECT_USER, shared),),
        ),
        project(
            "batch", environment="staging", owner="team-b", keys=(ApiKey("backend", "env:BATCH", KeyKind.PROJECT_USER, shared),)
        ),
        project("docs", environment="production", owner="team-b", services=("docs",)),
    )


def filled(store: Store, *, admin: bool = True) -> Store:
    """All of it: keys of every kind, a rotation that goes on, usage of three months, scores of a month."""
    now = store.now
    for new, length in ((False, 3 * DAY), (True, HOUR)):
        store.fill(fleet(new), burning, length, timedelta(minutes=5) if new else DAY)
    engine = open_engine(store.url)
    if admin:
        record = Record(engine, now)
        names = {
            "proj_checkout": "Checkout",
            "proj_search": "Search",
            "proj_batch": "Default project",
            "proj_docs": "Docs",
            "proj_x": "X",
        }
        record.projects(names)
        person = {"owner_type": "user", "owner_id": "user_mia", "owner_name": "Mia Member", "owner_project_access": "active"}
        robot = {
            "owner_type": "service_account",
            "owner_id": "sa_1",
            "owner_name": "checkout-robot",
            "owner_project_access": "active",
        }
        at = {
            name: seconds(now - days * DAY)
            for name, days in (("old", 400), ("young", 3), ("used", 0), ("stale", 70.5), ("far", -200))
        }
        limit = {"model": "gpt-4o", "max_requests_per_1_minute": 500}
        record.project(
            "proj_checkout",
            api_key(
                "key_old",
                "proj_checkout",
                **person | {"name": "backend", "created_at": at["old"], "redacted_value": "sk-…old1"},
            ),
            api_key("key_new", "proj_checkout", **robot | {"name": "backend", "created_at": at["young"], "expires_at": at["far"]}),
            Item(ItemKind.SERVICE_ACCOUNT, "sa_1", "proj_checkout", {"name": "checkout-robot"}),
            Item(ItemKind.RATE_LIMIT, "proj_checkout/rl", "proj_checkout", limit),
            Item(ItemKind.MODEL_PERMISSIONS, "proj_checkout", "proj_checkout", {"mode": "allow_list", "model_ids": ["gpt-4o"]}),
            Item(ItemKind.SPEND_LIMIT, "proj_checkout", "proj_checkout", {"threshold_amount": 10_000, "currency": "usd"}),
        )  # fmt: skip
        record.project(
            "proj_search",
            api_key(
                "key_search",
                "proj_search",
                **person | {"owner_project_access": "inactive", "created_at": at["old"], "last_used_at": at["used"]},
            ),
            api_key(
                "key_stray", "proj_search", **person | {"name": "laptop <b>", "created_at": at["old"], "last_used_at": at["stale"]}
            ),
            Item(ItemKind.RATE_LIMIT, "proj_search/rl", "proj_search", limit),
        )
        record.project(
            "proj_batch",
            api_key("key_batch", "proj_batch", **person | {"expires_at": seconds(now + 5 * DAY), "created_at": at["young"]}),
        )
        record.project("proj_docs", api_key("key_docs", "proj_docs", **robot | {"name": "docs", "created_at": at["young"]}))
        record.project("proj_x", api_key("key_x", "proj_x"))
        matched = {("checkout", "backend"): "key_new", ("search", "backend"): "key_search", ("docs", "backend"): "key_docs"}
        record.matched(matched)
        month = [("key_old", "gpt-4o", days * DAY, 900 - 200 * max(0, 4 - days)) for days in range(1, 60)]
        month += [("key_old", "gpt-4o-mini", days * DAY, 300) for days in range(1, 60)]
        month += [("key_new", "gpt-4o", days * DAY, 300) for days in range(3)]
        month += [("key_search", "gpt-4o", days * DAY, 50) for days in range(90)]
        record.used([*month, ("key_old", "gpt-4o", 5 * HOUR, 40)], project="proj_checkout")
        record.writer.synced(now - timedelta(minutes=12))
        changes.record(
            engine,
            [
                ChangeEvent(
                    now - 3 * DAY, ChangeKind.KEY_CREATED, ChangeSource.AUDIT_LOG, "Key “backend” (sk-…new2) was created.",
                    "proj_checkout", "checkout", "key_new", "backend", actor="user_mia",
                )
            ],
        )  # fmt: skip
    found = queries.hygiene(engine, now, HygienePolicy()).scores()
    for days, less in ((29, 14), (20, 9), (9, 4), (0, 0)):
        scores.record(engine, now - days * DAY, {name: (max(score - less, 0), rules) for name, (score, rules) in found.items()})
    engine.dispose()
    return store
