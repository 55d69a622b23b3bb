"""The poller in numbers, for Prometheus."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from monitor.domain.health import Health
from monitor.domain.taxonomy import LAMPS
from monitor.poller import Poller
from monitor.store.queries import ProjectStatus

_NONE: Mapping[str, datetime | None] = {}
_LEVEL = {Health.HEALTHY: 0, Health.RESTRICTED: 1, Health.DEGRADED: 2, Health.FAILING: 3}


class _Snapshot:
    """One scrape."""

    def __init__(self, poller: Poller, fleet: Iterable[ProjectStatus], synced: Mapping[str, datetime | None]) -> None:
        self._poller = poller
        self._fleet = fleet
        self._synced = synced

    def collect(self) -> Iterable[Metric]:
        """Every family once."""
        poller = self._poller
        yield GaugeMetricFamily("key_monitor_in_flight_checks", "Checks that are running now.", poller.in_flight)
        yield GaugeMetricFamily("key_monitor_unrecorded_answers", "Answers not yet in the database.", len(poller.pending))
        yield GaugeMetricFamily(
            "key_monitor_config_ok", "0 while a changed configuration is not taken.", int(poller.config_error is None)
        )
        yield GaugeMetricFamily("key_monitor_store_ok", "0 while the database cannot be written.", int(poller.store_error is None))
        if poller.last_commit is not None:
            at = poller.last_commit.timestamp()
            yield GaugeMetricFamily("key_monitor_last_commit_timestamp_seconds", "When answers were last recorded.", at)
        if (lag := poller.lag_p99_ms()) is not None:
            yield GaugeMetricFamily("key_monitor_schedule_lag_seconds", "How late checks start, 99th percentile.", lag / 1000)
        checks = CounterMetricFamily(
            "key_monitor_checks", "Recorded checks since the poller started.", labels=["project", "verdict", "failure"]
        )
        for labels, count in sorted(poller.counts.items()):
            checks.add_metric(labels, count)
        yield checks
        level = GaugeMetricFamily(
            "key_monitor_lane_health",
            "0 healthy, 1 restricted, 2 degraded, 3 failing; an unknown lane has no sample.",
            labels=["project", "lane"],
        )
        for project in self._fleet:
            for lane in LAMPS:
                if (value := _LEVEL.get(project.lamps[lane].health)) is not None:
                    level.add_metric([project.name, lane.value], value)
        yield level
        if self._synced:
            synced = GaugeMetricFamily(
                "key_monitor_organization_synced_timestamp_seconds",
                "When the organization's own record was last read; without a sample where it never was.",
                labels=["organization"],
            )
            for name, moment in self._synced.items():
                if moment is not None:
                    synced.add_metric([name], moment.timestamp())
            yield synced


def exposition(poller: Poller, fleet: Iterable[ProjectStatus], synced: Mapping[str, datetime | None] = _NONE) -> bytes:
    """The text of `/metrics`. `synced` is when the record of each organization was last read."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(poller, fleet, synced))
    return generate_latest(registry)
