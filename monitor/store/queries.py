"""The read side: one function per question. Nothing here writes; every function takes the engine and, where it matters, `now`.

Every function raises `StoreError` where the database cannot be read. Importing this costs no pandas; calling a function
that returns a frame does.
"""

from monitor.store.around import gaps as changes_not_known
from monitor.store.catalogue import find as catalogues
from monitor.store.changes import ChangeFilter
from monitor.store.changes import actors as change_actors
from monitor.store.changes import count as change_count
from monitor.store.changes import find as changes
from monitor.store.changes import page as change_page
from monitor.store.changes import version as changes_version
from monitor.store.covering import Covering, covering
from monitor.store.current import asked_of, data_version, effective_config, heartbeat, keys, targets
from monitor.store.deadlines import calendar as deadlines
from monitor.store.evidence import observation, observations
from monitor.store.fleet import fleet, project
from monitor.store.history import (
    check_counts,
    failure_trend,
    lag_trend,
    latency_trend,
    limits_history,
    limits_now,
    probe_cost,
    rate_limit_trend,
    transitions,
)
from monitor.store.hygiene import hygiene
from monitor.store.incidents import IncidentFilter
from monitor.store.incidents import began as incidents_begun
from monitor.store.incidents import count as incident_count
from monitor.store.incidents import find as incidents
from monitor.store.incidents import going as incidents_going
from monitor.store.incidents import open_ones as open_incidents
from monitor.store.incidents import page as incident_page
from monitor.store.incidents import record as incident
from monitor.store.incidents import similar as similar_incidents
from monitor.store.intents import waiting as waiting_intents
from monitor.store.leases import PollerShare, Sharing, sharing
from monitor.store.matrix import access_overview, model_access
from monitor.store.organization import cost_rows as costs
from monitor.store.organization import matches as key_matches
from monitor.store.organization import names as organizations
from monitor.store.organization import organization
from monitor.store.organization import usage_rows as usage
from monitor.store.outbox import log as deliveries
from monitor.store.reminders import log as reminders
from monitor.store.scores import trend as score_trend
from monitor.store.silences import active as active_silences
from monitor.store.silences import all_ as silences
from monitor.store.status import (
    EffectiveConfig,
    EvidenceFilter,
    Heartbeat,
    KeyStatus,
    ProjectStatus,
    TargetStatus,
)
from monitor.store.strips import strips

__all__ = [
    "ChangeFilter",
    "Covering",
    "EffectiveConfig",
    "EvidenceFilter",
    "Heartbeat",
    "IncidentFilter",
    "KeyStatus",
    "PollerShare",
    "ProjectStatus",
    "Sharing",
    "TargetStatus",
    "access_overview",
    "active_silences",
    "asked_of",
    "catalogues",
    "change_actors",
    "change_count",
    "change_page",
    "changes",
    "changes_not_known",
    "changes_version",
    "check_counts",
    "costs",
    "covering",
    "data_version",
    "deadlines",
    "deliveries",
    "effective_config",
    "failure_trend",
    "fleet",
    "heartbeat",
    "hygiene",
    "incident",
    "incident_count",
    "incident_page",
    "incidents",
    "incidents_begun",
    "incidents_going",
    "key_matches",
    "keys",
    "lag_trend",
    "latency_trend",
    "limits_history",
    "limits_now",
    "model_access",
    "observation",
    "observations",
    "open_incidents",
    "organization",
    "organizations",
    "probe_cost",
    "project",
    "rate_limit_trend",
    "reminders",
    "score_trend",
    "sharing",
    "silences",
    "similar_incidents",
    "strips",
    "targets",
    "transitions",
    "usage",
    "waiting_intents",
]
