"""The read side: one function per question. Nothing here writes; every function takes the engine and, where it matters, `now`.

Every function raises `StoreError` where the database cannot be read. Importing this costs no pandas; calling a function
that returns a frame does.
"""

from monitor.store.current import data_version, effective_config, fleet, heartbeat, keys, project, targets
from monitor.store.history import (
    check_counts,
    failure_trend,
    lag_trend,
    latency_trend,
    limits_history,
    limits_now,
    model_matrix,
    observation,
    observations,
    probe_cost,
    rate_limit_trend,
    strips,
    transitions,
)
from monitor.store.status import (
    EffectiveConfig,
    EvidenceFilter,
    Heartbeat,
    KeyStatus,
    ProjectStatus,
    TargetStatus,
)

__all__ = [
    "EffectiveConfig",
    "EvidenceFilter",
    "Heartbeat",
    "KeyStatus",
    "ProjectStatus",
    "TargetStatus",
    "check_counts",
    "data_version",
    "effective_config",
    "failure_trend",
    "fleet",
    "heartbeat",
    "keys",
    "lag_trend",
    "latency_trend",
    "limits_history",
    "limits_now",
    "model_matrix",
    "observation",
    "observations",
    "probe_cost",
    "project",
    "rate_limit_trend",
    "strips",
    "targets",
    "transitions",
]
