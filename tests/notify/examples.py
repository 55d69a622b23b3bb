"""Incidents to tell of."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from monitor.domain.diagnosis import Context, diagnose
from monitor.domain.incidents import Cause, Event, EventKind, Incident, Severity
from monitor.domain.incidents import Change as Changed
from monitor.domain.taxonomy import FailureKind, Lane, Scope

NOW = datetime(2026, 11, 23, 2, 14, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def incident(**changes: object) -> Incident:
    """A refused key, open since ten minutes."""
    plain = Incident(
        cause=Cause(Scope.KEY, Lane.AUTH, "checkout/web"),
        failure=FailureKind.AUTH_INVALID_KEY,
        severity=Severity.CRITICAL,
        first_bad_at=NOW - 11 * MINUTE,
        opened_at=NOW - 10 * MINUTE,
        title="Key “web” of checkout: key refused",
        diagnosis=diagnose(FailureKind.AUTH_INVALID_KEY, Context(project="checkout", key="web")),
        projects=("checkout",),
        keys=("checkout/web",),
        services=("shop-api",),
        owners=("team-shop",),
        environments=("production",),
        ill=1,
    )
    return replace(plain, **changes)


def change(what: Incident, kind: EventKind = EventKind.OPENED, at: datetime = NOW) -> Changed:
    """As the keeper hands it to the store."""
    return Changed(what, (Event(at, kind, what.title),))
