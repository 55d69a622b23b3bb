"""Settings: what is watched and how, read from `monitor.toml`, or for one project from the environment alone.

`load_settings()` gives frozen, valid `Settings` or raises `ConfigErrors` with every error at once, each with its file, its
key path and a fix in words. No error ever repeats a value: people paste secrets into the wrong places.
"""

from monitor.config.errors import ConfigError, ConfigErrors
from monitor.config.load import ConfigWatcher, configured, dotenv_path, find_config, load_settings, open_secrets
from monitor.config.settings import (
    Budget,
    ChannelSettings,
    DashboardSettings,
    HygieneSettings,
    IntervalOverrides,
    Intervals,
    KeySettings,
    MaintenanceSettings,
    MetricsSettings,
    OrganizationSettings,
    PollerSettings,
    ProjectSettings,
    Retention,
    RouteSettings,
    Settings,
    SyncSettings,
    hygiene_policy,
)
from monitor.config.values import format_duration, parse_duration
from monitor.config.watched import (
    ConfigFinding,
    PlanRow,
    admin_key_errors,
    findings,
    inventory,
    is_loopback,
    probe_plan,
    secret_errors,
)

__all__ = [
    "Budget",
    "ChannelSettings",
    "ConfigError",
    "ConfigErrors",
    "ConfigFinding",
    "ConfigWatcher",
    "DashboardSettings",
    "HygieneSettings",
    "IntervalOverrides",
    "Intervals",
    "KeySettings",
    "MaintenanceSettings",
    "MetricsSettings",
    "OrganizationSettings",
    "PlanRow",
    "PollerSettings",
    "ProjectSettings",
    "Retention",
    "RouteSettings",
    "Settings",
    "SyncSettings",
    "admin_key_errors",
    "configured",
    "dotenv_path",
    "find_config",
    "findings",
    "format_duration",
    "hygiene_policy",
    "inventory",
    "is_loopback",
    "load_settings",
    "open_secrets",
    "parse_duration",
    "probe_plan",
    "secret_errors",
]
