"""The alerting part of the settings, in the words of `monitor.domain.alerting`."""

from collections.abc import Iterator

from monitor.config.settings import Settings
from monitor.domain.alerting import MaintenanceWindow, Person, Route
from monitor.domain.incidents import Severity
from monitor.domain.taxonomy import Lane
from monitor.secrets import Secrets


def routes(settings: Settings) -> tuple[Route, ...]:
    """The routes as configured; where there are none, one to every channel."""
    if not settings.routes:
        return tuple(Route(channel=channel.name) for channel in settings.channels)
    return tuple(
        Route(
            channel=each.channel,
            owners=each.owners,
            environments=each.environments,
            lanes=tuple(Lane(lane) for lane in each.lanes),
            projects=each.projects,
            min_severity=Severity(each.min_severity),
            group_wait=each.group_wait,
            remind_every=each.remind_every,
            escalate_after=each.escalate_after,
            digest_every=each.digest_every,
            digest_at=each.digest_at,
        )
        for each in settings.routes
    )


def windows(settings: Settings) -> tuple[MaintenanceWindow, ...]:
    """The maintenance windows as configured."""
    return tuple(
        MaintenanceWindow(
            name=each.name,
            starts=each.starts,
            until=each.until,
            every=each.every,
            projects=each.projects,
            owners=each.owners,
            environments=each.environments,
            lanes=tuple(Lane(lane) for lane in each.lanes),
        )
        for each in settings.maintenance
    )


def people(settings: Settings) -> dict[str, Person]:
    """Whose each project is."""
    return {project.name: Person(project.owner, project.environment) for project in settings.projects}


def unreadable(settings: Settings, secrets: Secrets) -> Iterator[tuple[str, str]]:
    """The channels whose URL cannot be read, and why; the dead man's URL is named `dead_man_url`."""
    refs = [(f"channel {channel.name}", channel.url) for channel in settings.channels]
    if settings.dead_man_url:
        refs.append(("dead_man_url", settings.dead_man_url))
    for name, ref in refs:
        if problem := secrets.resolve(ref).problem:
            yield name, f"{ref}: {problem}"


def nobody_has(settings: Settings) -> Iterator[tuple[str, str]]:
    """Names in routes and windows that no project has: `routes[0].owners`, and the name."""
    known: dict[str, set[str | None]] = {
        "projects": {project.name for project in settings.projects},
        "owners": {project.owner for project in settings.projects},
        "environments": {project.environment for project in settings.projects},
    }
    for table, entries in (("routes", settings.routes), ("maintenance", settings.maintenance)):
        for index, entry in enumerate(entries):
            for field, names in known.items():
                for name in getattr(entry, field):
                    if name not in names:
                        yield f"{table}[{index}].{field}", name
