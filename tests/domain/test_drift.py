"""What changed, in words: every kind is reached, nothing private is in a sentence, and nothing is told that is no change."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain import audit, own_changes
from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource, like, same, same_entry
from monitor.domain.drift import MOST_LIMITS, MOST_MODELS, Names, expired, told
from monitor.domain.organization import AuditEvent, Difference, Item, ItemKind

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BEFORE = NOW - timedelta(hours=1)
K, P = ChangeKind, ItemKind
NAMES = Names(
    projects={"proj_a": "checkout"},
    keys={"key_1": ("checkout", "backend")},
    models={"proj_a": ("gpt-4o", "gpt-4.1-2025-04-14")},
)


def item(kind: ItemKind, number: str, project: str | None = "proj_a", **facts: Any) -> Item:
    return Item(kind, number, project, facts)


def changed(kind: ItemKind, number: str, was: dict[str, Any] | None, now: dict[str, Any] | None, project: str | None = "proj_a"):
    before, after = (item(kind, number, project, **facts) if facts is not None else None for facts in (was, now))
    return Difference(kind, number, project, before, after)


def tell(*differences: Difference, names: Names = NAMES) -> list[ChangeEvent]:
    return list(told(differences, NOW, BEFORE, names))


def texts(events: Iterable[ChangeEvent]) -> list[tuple[ChangeKind, str]]:
    return [(event.kind, event.text) for event in events]


def log(kind: str, subject: str | None = "x_1", project: str | None = "proj_a", actor: str | None = "user-1", **facts: Any):
    return AuditEvent(f"audit_{kind}", kind, NOW, project, subject, actor, facts)


def logged(*events: AuditEvent, names: Names = NAMES) -> list[ChangeEvent]:
    return [event for _, event in audit.logged(events, names)]


KEY = {"name": "api", "redacted_value": "sk-…4f2c", "owner_name": "Ada", "owner_id": "user-1", "owner_project_access": "active"}
RPM, TPM = "max_requests_per_1_minute", "max_tokens_per_1_minute"
LIMIT = {"model": "gpt-4o", RPM: 10_000, TPM: 30_000}
SPEND = {"threshold_amount": 50_000, "currency": "USD", "interval": "month", "enforcement": "inactive"}

DIFFERENCES: list[tuple[Difference, list[tuple[ChangeKind, str]]]] = [
    (changed(P.API_KEY, "key_1", None, KEY), [(K.KEY_CREATED, "Key “backend” (sk-…4f2c) of Ada was created.")]),
    (changed(P.API_KEY, "key_1", KEY, None), [(K.KEY_DELETED, "Key “backend” (sk-…4f2c) was deleted.")]),
    (changed(P.API_KEY, "key_2", KEY, None), [(K.KEY_DELETED, "Key “api” (sk-…4f2c) was deleted.")]),
    (changed(P.API_KEY, "key_2", {}, None), [(K.KEY_DELETED, "Key key_2 was deleted.")]),
    (
        changed(P.API_KEY, "key_1", KEY, KEY | {"expires_at": 1795824000}),
        [(K.KEY_CHANGED, "Key “backend” (sk-…4f2c) was changed: it expires on 2026-11-28, before never.")],
    ),
    (
        changed(P.API_KEY, "key_1", KEY, KEY | {"owner_project_access": "inactive"}),
        [(K.MEMBER_CHANGED, "Ada, who owns it, lost access to the project: Key “backend” (sk-…4f2c) is refused.")],
    ),
    (changed(P.API_KEY, "key_1", {"name": "api"}, KEY | {"owner_id": None} | {"name": "api", "owner_id": None}), []),
    (changed(P.RATE_LIMIT, "proj_a/rl-gpt-4o", LIMIT, LIMIT | {RPM: 500}),
     [(K.RATE_LIMIT_LOWERED, "The limit of gpt-4o was lowered: 10,000 → 500 requests a minute.")]),
    (changed(P.RATE_LIMIT, "proj_a/rl-gpt-4o", LIMIT, LIMIT | {RPM: 500, TPM: 90_000}),
     [(K.RATE_LIMIT_CHANGED,
       "The limit of gpt-4o was changed: 10,000 → 500 requests a minute; 30,000 → 90,000 tokens a minute.")]),
    (changed(P.RATE_LIMIT, "proj_a/rl-gpt-4o", LIMIT, LIMIT | {"max_moon_rocks_per_1_day": 3}),
     [(K.RATE_LIMIT_CHANGED, "The limit of gpt-4o was changed: unset → 3 moon rocks per 1 day.")]),
    (changed(P.RATE_LIMIT, "proj_a/rl-gpt-6", None, LIMIT), []),
    (changed(P.HOSTED_TOOLS, "proj_a", {"mcp": True, "web_search": True}, {"mcp": False}),
     [(K.TOOL_DISABLED, "MCP, a tool that OpenAI hosts, is no longer allowed.")]),
    (changed(P.HOSTED_TOOLS, "proj_a", None, {"mcp": False}), []),
    (changed(P.SPEND_LIMIT, "proj_a", None, SPEND),
     [(K.SPEND_LIMIT_CHANGED, "The project's spend limit was set to $500 a month.")]),
    (changed(P.SPEND_LIMIT, "organization", SPEND, None, None),
     [(K.SPEND_LIMIT_CHANGED, "The organization's spend limit was removed; it was $500 a month.")]),
    (changed(P.SPEND_LIMIT, "proj_a", SPEND | {"enforcement": "enforcing"}, SPEND | {"threshold_amount": 60_000}),
     [(K.SPEND_LIMIT_CHANGED, "The project's spend limit was raised: $500 a month → $600 a month."),
      (K.SPEND_LIMIT_LIFTED, "The project's spend limit is enforced no more.")]),
    (changed(P.MEMBER, "proj_a/user-1", {"name": "Ada", "role": "member"}, {"name": "Ada", "role": "owner"}),
     [(K.MEMBER_CHANGED, "Ada was changed: the role is owner, before member.")]),
    (changed(P.SERVICE_ACCOUNT, "svc_1", {"name": "nightly"}, None),
     [(K.SERVICE_ACCOUNT_DELETED, "Service account “nightly” was deleted.")]),
    (changed(P.CERTIFICATE, "proj_a/cert_1", None, {"name": "mtls"}),
     [(K.CERTIFICATE_CHANGED, "Certificate “mtls” is demanded for the project.")]),
    (changed(P.CERTIFICATE, "cert_1", {"name": "mtls", "active": True}, {"name": "mtls", "active": False}, None),
     [(K.CERTIFICATE_CHANGED, "Certificate “mtls” is active no more.")]),
    (changed(P.CERTIFICATE, "cert_1", {"name": "mtls"}, {"name": "mtls-2027"}, None),
     [(K.CERTIFICATE_CHANGED, "Certificate “mtls-2027” was changed: at OpenAI it is called mtls-2027, before mtls.")]),
    (changed(P.CERTIFICATE, "cert_1", {"name": "mtls"}, {"name": "mtls", "expires_at": 1795824000}, None),
     [(K.CERTIFICATE_CHANGED, "Certificate “mtls” was changed: it expires on 2026-11-28, before never.")]),
    (changed(P.PROJECT, "proj_b", None, {"name": "new"}, "proj_b"), [(K.PROJECT_CREATED, "Project “new” was created.")]),
    (changed(P.PROJECT, "proj_a", {"name": "a", "status": "archived"}, {"name": "a", "status": "active"}),
     [(K.PROJECT_CHANGED, "Project “checkout” is active again.")]),
]  # fmt: skip


@pytest.mark.parametrize(("difference", "said"), DIFFERENCES)
def test_a_difference_in_words(difference: Difference, said: list[tuple[ChangeKind, str]]) -> None:
    events = tell(difference)
    assert texts(events) == said
    for event in events:
        assert (event.at, event.after, event.source) == (NOW, BEFORE, ChangeSource.SYNC)
        assert event.subject
        assert event.actor is None


def permissions(mode: str | None, *models: str) -> dict[str, Any] | None:
    return {"mode": mode, "model_ids": sorted(models)} if mode else None


A, D = "allow_list", "deny_list"
UNSURE = "gpt-4o: whether that stands for it is not documented."


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ((A, "gpt-4o", "o3"), (A, "gpt-4o"), [(K.MODEL_REMOVED, "o3", "o3 is no longer allowed (allow list).")]),
        ((A, "gpt-4o"), (A, "gpt-4o", "o3"), [(K.MODEL_ADDED, "o3", "o3 is allowed (allow list).")]),
        ((D, "o3"), (D, "gpt-4o"), [(K.MODEL_REMOVED, "gpt-4o", "gpt-4o is no longer allowed (deny list)."),
                                    (K.MODEL_ADDED, "o3", "o3 is allowed again.")]),
        ((None,), (D, "gpt-4o"), [(K.MODEL_REMOVED, "gpt-4o", "gpt-4o is no longer allowed (deny list).")]),
        ((D, "gpt-4o"), (None,), [(K.MODEL_ADDED, "gpt-4o", "gpt-4o is allowed again.")]),
        ((None,), (A, "gpt-4.1"),
         [(K.MODEL_REMOVED, None, "An allow list restricts models from now on: only gpt-4.1 may be used."),
          # The alias on the list allows the snapshot that is needed.
          (K.MODEL_REMOVED, "gpt-4o", "gpt-4o is no longer allowed (allow list).")]),
        ((None,), (A,), [(K.MODEL_REMOVED, None, "An allow list restricts models from now on: no model may be used."),
                         (K.MODEL_REMOVED, "gpt-4.1-2025-04-14", "gpt-4.1-2025-04-14 is no longer allowed (allow list)."),
                         (K.MODEL_REMOVED, "gpt-4o", "gpt-4o is no longer allowed (allow list).")]),
        ((A, "o3"), (None,), [(K.MODEL_ADDED, None, "No allow list restricts models any more: every model may be used."),
                              (K.MODEL_ADDED, "gpt-4.1-2025-04-14", "gpt-4.1-2025-04-14 is allowed again."),
                              (K.MODEL_ADDED, "gpt-4o", "gpt-4o is allowed again.")]),
        ((A, "gpt-4o", "gpt-4.1"), (D, "gpt-4o"),
         [(K.MODEL_ADDED, None, "No allow list restricts models any more: every model but gpt-4o may be used."),
          (K.MODEL_REMOVED, "gpt-4o", "gpt-4o is no longer allowed (deny list).")]),
        ((None,), (D,), []),
        # Whether an alias on the list stands for its snapshots is documented nowhere: the difference is told, and that.
        ((A, "gpt-4o", "gpt-4o-2024-08-06"), (A, "gpt-4o"),
         [(K.MODEL_REMOVED, "gpt-4o-2024-08-06",
           f"gpt-4o-2024-08-06 is no longer named in the allow list, which names {UNSURE}")]),
        ((A, "gpt-4o"), (A, "gpt-4o", "gpt-4o-2024-08-06"),
         [(K.MODEL_ADDED, "gpt-4o-2024-08-06",
           f"gpt-4o-2024-08-06 is named in the allow list, which also names {UNSURE}")]),
        ((A, "gpt-4o-2024-08-06"), (A, "gpt-4o"),
         [(K.MODEL_ADDED, "gpt-4o", "gpt-4o is allowed (allow list)."),
          (K.MODEL_REMOVED, "gpt-4o-2024-08-06",
           f"gpt-4o-2024-08-06 is no longer named in the allow list, which names {UNSURE}")]),
        ((D, "gpt-4o", "gpt-4o-2024-08-06"), (D, "gpt-4o"),
         [(K.MODEL_ADDED, "gpt-4o-2024-08-06",
           f"gpt-4o-2024-08-06 is no longer named in the deny list, which names {UNSURE}")]),
    ],
)  # fmt: skip
def test_model_permissions_are_told_by_model_and_by_what_is_needed(
    was: tuple[str | None, ...], now: tuple[str | None, ...], said: list[tuple[ChangeKind, str | None, str]]
) -> None:
    before, after = permissions(*was), permissions(*now)  # type: ignore[arg-type]
    events = tell(changed(P.MODEL_PERMISSIONS, "proj_a", before, after))
    assert [(event.kind, event.model, event.text) for event in events] == said
    assert {event.project for event in events} <= {"checkout"}
    assert len({event.dedup for event in events}) == len(events)


def test_a_list_of_a_thousand_models_is_not_a_thousand_events() -> None:
    many = [f"ft-{number:04}" for number in range(1000)]
    events = tell(changed(P.MODEL_PERMISSIONS, "proj_a", permissions(A, *many), permissions(A)))
    assert len(events) == MOST_MODELS + 1
    assert events[-1].text.startswith("950 more models are no longer allowed (allow list): ft-0050,")


def test_another_tier_is_one_event_a_project() -> None:
    limits = [
        changed(P.RATE_LIMIT, f"proj_a/rl-{n}", {"model": f"m{n}", RPM: 500}, {"model": f"m{n}", RPM: 900})
        for n in range(MOST_LIMITS + 3)
    ]
    other = changed(P.RATE_LIMIT, "proj_a/rl-x", {"model": "x", RPM: 500}, {"model": "x", RPM: 5})
    one, many = sorted(tell(*limits, other), key=lambda event: len(event.text))
    assert one.kind is K.RATE_LIMIT_LOWERED
    assert (many.kind, many.project) == (K.RATE_LIMIT_RAISED, "checkout")
    assert many.text == "The limits of 11 models were raised, such as 500 → 900 requests a minute."


LOGGED: list[tuple[AuditEvent, ChangeKind, str]] = [
    (log("api_key.deleted", "key_1"), K.KEY_DELETED, "Key “backend” was deleted."),
    (log("api_key.created", "key_9", scopes=["model.read"]), K.KEY_CREATED, "Key key_9 was created; it may model.read."),
    (log("service_account.created", "svc_1", role="member"), K.SERVICE_ACCOUNT_CREATED,
     "Service account svc_1 was created (role member)."),
    (log("rate_limit.updated", "rl-gpt-4o", **{RPM: 500}), K.RATE_LIMIT_CHANGED,
     "The limit of gpt-4o was set to 500 requests a minute."),
    (log("rate_limit.deleted", "rl-gpt-4o"), K.RATE_LIMIT_CHANGED,
     "The limit of gpt-4o was reset to what OpenAI gives the organization."),
    (log("rate_limit.updated", None), K.RATE_LIMIT_CHANGED, "The limit of a model was set anew."),
    (log("project.archived", "proj_a"), K.PROJECT_ARCHIVED, "Project “checkout” was archived."),
    (log("user.deleted", "user-7", None), K.MEMBER_REMOVED, "user-7 was removed from the organization."),
    (log("user.deleted", None, None), K.MEMBER_REMOVED, "Somebody was removed from the organization."),
    (log("role.assignment.created", "ra_1", principal_id="user-7"), K.ROLE_CHANGED, "user-7 was given a role in the project."),
    (log("role.created", "role_1", None), K.ROLE_CHANGED, "Role role_1 was created."),
    (log("role.deleted", "role_1", None, role_name="ops"), K.ROLE_CHANGED, "Role “ops” was withdrawn."),
    (log("certificates.activated", "cert_1"), K.CERTIFICATE_CHANGED, "The demand for a certificate was activated."),
    (log("ip_allowlist.config.activated", None), K.IP_ALLOWLIST_CHANGED, "The list of allowed addresses was activated."),
    (log("organization.updated", "org-1", None), K.ORGANIZATION_CHANGED, "The organization was changed."),
    (log("tenant.admin_api_key.created", "key_2", None), K.ADMIN_KEY_CHANGED, "Admin key key_2 was created."),
    (log("tenant.admin_api_key.updated", None, None), K.ADMIN_KEY_CHANGED, "Admin key without a name was changed."),
    (log("tenant.admin_api_key.deleted", "key_2", None, name="terraform"), K.ADMIN_KEY_CHANGED,
     "Admin key “terraform” was deleted."),
    (log("tenant.billing.overage_limit.updated", None, None), K.SPEND_LIMIT_CHANGED,
     "The organization's limit of overage was changed."),
    (log("tenant.billing.overage_limit.updated", None, None, limit=5_000, org_id=7, hard=True), K.SPEND_LIMIT_CHANGED,
     "The organization's limit of overage was changed (limit 5,000)."),
    (log("tenant.billing.overage_limit.updated", None, None, previous_limit=5_000, limit=100), K.SPEND_LIMIT_CHANGED,
     "The organization's limit of overage was lowered: limit 5,000 → 100."),
    (log("tenant.billing.overage_limit.updated", None, None, old_cap=5, new_cap=100), K.SPEND_LIMIT_CHANGED,
     "The organization's limit of overage was raised: cap 5 → 100."),
    (log("tenant.billing.alerts.updated", None, None), K.SPEND_ALERT_CHANGED,
     "An alert about the organization's bill was changed."),
    (log("tenant.billing.info.updated", None, None), K.ORGANIZATION_CHANGED, "The organization's billing information was changed."),
    (log("tenant.usage_limit.workspace.updated", "ws_1", None), K.SPEND_LIMIT_CHANGED,
     "The usage limit of a workspace was changed."),
    (log("tenant.usage_limit.group.updated", "group_1", None, credits=40), K.SPEND_LIMIT_CHANGED,
     "The usage limit of a group was changed (credits 40)."),
    (log("tenant.usage_limit.user.updated", "user-7", None), K.SPEND_LIMIT_CHANGED, "The usage limit of a person was changed."),
    (log("tenant.usage_limit.increase_request.resolved", None, None), K.OTHER,
     "The request for a higher usage limit was resolved."),
    (log("tenant.service_account.token.revoked", "svc_1"), K.SERVICE_ACCOUNT_CHANGED,
     "A token of service account svc_1 was revoked."),
    (log("tenant.service_account.token.revoked", None, None), K.SERVICE_ACCOUNT_CHANGED,
     "A token of a service account was revoked."),
    (log("tenant.policy.attached", "policy_1", None, policy_name="no eu"), K.POLICY_CHANGED, "Policy “no eu” was attached."),
    (log("tenant.policy.deleted", None, None), K.POLICY_CHANGED, "Policy without a name was deleted."),
    (log("tenant.product_access_policy.updated", None, None), K.POLICY_CHANGED,
     "The policy of which products may be used was changed."),
    (log("tenant.resource_access.deleted", None, None), K.POLICY_CHANGED, "The access to a resource was deleted."),
    (log("tenant.resource_role_assignment.deleted", "ra_1", None, principal_id="user-7", resource_type="api.project"),
     K.ROLE_CHANGED, "user-7 lost a role in the project."),
    (log("tenant.role_assignment.created", "ra_1", None, principal_id="user-7"), K.ROLE_CHANGED,
     "user-7 was given a role in the organization."),
    (log("tenant.custom_role.created", "role_1", None, name="ops"), K.ROLE_CHANGED, "Role “ops” was created."),
    (log("tenant.group.member.removed", "group_1", None, user_id="user-7", group_name="ops"), K.ROLE_CHANGED,
     "user-7 lost the roles of group “ops”."),
    (log("tenant.group.member.added", None, None), K.ROLE_CHANGED, "Somebody was given the roles of a group."),
    (log("tenant.membership.revoked", "m_1", None, user_id="user-7"), K.MEMBER_REMOVED,
     "user-7 was removed from the organization."),
    (log("tenant.user.removed", "user-7", None), K.MEMBER_REMOVED, "user-7 was removed from the organization."),
    (log("tenant.group.created", "group_1", None), K.OTHER, "Group group_1 was created."),
    (log("tenant.workload_identity.provider.archived", "wip_1", None), K.OTHER, "Workload identity provider wip_1 was archived."),
    (log("tenant.sso.migrated", None, None), K.OTHER, "The audit log tells of “tenant.sso.migrated”."),
    (log("tenant.project_api_key.created", "key_3"), K.KEY_CREATED, "Key key_3 was created."),
    (log("scim.enabled", None, None), K.OTHER, "The audit log tells of “scim.enabled”."),
    (log("", None, None), K.OTHER, "The audit log tells of “”."),
]  # fmt: skip


@pytest.mark.parametrize(("event", "kind", "said"), LOGGED)
def test_an_event_of_the_log_in_words(event: AuditEvent, kind: ChangeKind, said: str) -> None:
    [one] = logged(event)
    assert (one.kind, one.text) == (kind, said)
    assert (one.source, one.actor, one.at, one.after) == (ChangeSource.AUDIT_LOG, "user-1", NOW, None)


def test_people_are_named_where_the_record_knows_them() -> None:
    known = {"user-1": item(P.USER, "user-1", None, name="Ada Byrne"), "key_1": item(P.API_KEY, "key_1", **KEY)}
    names = Names(NAMES.projects, NAMES.keys, NAMES.models, known)
    [one] = logged(log("api_key.deleted", "key_1", None), names=names)
    assert one.text == "Key “backend” (sk-…4f2c) was deleted."
    assert (one.actor, one.project, one.project_id, one.key) == ("Ada Byrne", "checkout", "proj_a", "backend")
    assert audit.mentioned([log("role.assignment.created", "ra_1", principal_id="user-7")]) >= {
        "ra_1",
        "user-7",
        "user-1",
        "proj_a",
    }


def test_a_token_of_a_service_account_is_its_project_s_and_the_very_key_where_that_is_known() -> None:
    known = {"svc_1": item(P.SERVICE_ACCOUNT, "svc_1", "proj_a", name="nightly")}
    names = Names(NAMES.projects, NAMES.keys, NAMES.models, known)
    revoked = "tenant.service_account.token.revoked"
    [one] = logged(log(revoked, "svc_1", None), names=names)
    assert (one.text, one.project, one.key) == ("A token of service account “nightly” was revoked.", "checkout", None)
    [other] = logged(log(revoked, "key_1", None, service_account_id="svc_1"), names=names)
    assert (other.text, other.project_id, other.key) == (one.text, "proj_a", "backend")
    assert audit.mentioned([log(revoked, "tok_1", None, service_account_id="svc_1")]) >= {"tok_1", "svc_1"}


def test_a_role_in_a_project_is_that_project_s_though_the_tenant_s_log_names_none() -> None:
    event = log("tenant.resource_role_assignment.created", "ra_1", None, resource_type="api.project", resource_id="proj_a")
    [one] = logged(event)
    assert (one.project_id, one.project, one.text) == ("proj_a", "checkout", "Somebody was given a role in the project.")
    for odd in ({"resource_type": 7, "resource_id": "proj_a"}, {"resource_type": "api.project", "resource_id": ["proj_a"]}):
        assert logged(log("tenant.role_assignment.created", "ra_1", None, **odd))[0].project_id is None


TWICE: list[tuple[AuditEvent, AuditEvent, bool]] = [
    (log("user.updated", "user-7", None), log("tenant.user.updated", "user-7", None), True),
    (log("user.deleted", "user-7", None), log("tenant.user.removed", "user-7", None), True),
    (log("user.deleted", "user-7", None), log("tenant.user.removed", "user-8", None), False),
    (log("user.added", "user-7", None), log("tenant.user.removed", "user-7", None), False),
    (log("user.added", None, None), log("tenant.user.added", None, None), False),
    (log("service_account.updated", "svc_1"), log("tenant.service_account.updated", "svc_1", None), True),
    (log("service_account.updated", "svc_1"), log("tenant.service_account.updated", "svc_1", "proj_b"), False),
    (log("role.assignment.created", "ra_1", principal_id="user-7"),
     log("tenant.resource_role_assignment.created", "ra_9", principal_id="user-7"), True),
    (log("role.assignment.created", "ra_1", principal_id="user-7"),
     log("tenant.resource_role_assignment.deleted", "ra_1", principal_id="user-7"), False),
    (log("role.created", "role_1", None), log("tenant.custom_role.created", "role_1", None), True),
    (log("group.created", "group_1", None), log("tenant.group.created", "group_1", None), True),
    (log("group.created", "group_1", None), log("tenant.group.deleted", "group_1", None), False),
    (log("workload_identity_provider.updated", "wip_1", None),
     log("tenant.workload_identity.provider.updated", "wip_1", None), True),
]  # fmt: skip


@pytest.mark.parametrize(("ordinary", "tenants", "once"), TWICE, ids=lambda each: getattr(each, "type", ""))
def test_what_stands_in_both_logs_is_recognised(ordinary: AuditEvent, tenants: AuditEvent, once: bool) -> None:
    [one], [other] = logged(ordinary), logged(replace(tenants, at=NOW + timedelta(seconds=20)))
    assert (same_entry(one, other), same_entry(other, one)) == (once, once)
    assert not same_entry(one, replace(other, at=NOW + timedelta(minutes=3)))
    assert one.dedup.startswith("audit ")
    assert other.dedup == f"audit tenant {tenants.id}"


def test_dates_that_came_are_told_at_their_moment() -> None:
    def dated(kind: ItemKind, number: str, at: datetime, **facts: Any) -> Item:
        return item(kind, number, "proj_a" if kind is P.API_KEY else None, expires_at=int(at.timestamp()), **facts)

    items = [
        dated(P.API_KEY, "key_1", NOW, **KEY),
        dated(P.ADMIN_KEY, "key_a", NOW, name="monitor"),
        dated(P.CERTIFICATE, "cert_1", NOW, name="mtls"),
        dated(P.CERTIFICATE, "cert_2", BEFORE),
        dated(P.API_KEY, "key_3", NOW + timedelta(seconds=1)),
        item(P.API_KEY, "key_4", expires_at=True),
        item(P.API_KEY, "key_5", expires_at="soon"),
        dated(P.USER, "user-1", NOW),
    ]
    events = list(expired(items, BEFORE, NOW, NAMES))
    assert texts(events) == [
        (K.KEY_EXPIRED, "Key “backend” (sk-…4f2c) expired."),
        (K.KEY_EXPIRED, "Admin key “monitor” expired."),
        (K.CERTIFICATE_EXPIRED, "Certificate “mtls” expired."),
    ]
    assert [(each.key, each.project, each.at) for each in events] == [
        ("backend", "checkout", NOW), (None, None, NOW), (None, None, NOW),
    ]  # fmt: skip


def config(**more: Any) -> dict[str, Any]:
    projects = [{"name": "checkout", "project_id": "proj_a", "models": ["gpt-4o"]}, {"name": "search", "owner": None}]
    return {"intervals": {"auth": "PT1M"}, "projects": projects} | more


def test_our_own_configuration_is_told_by_project() -> None:
    new = config(
        intervals={"auth": "PT5M"}, projects=[{"name": "checkout", "project_id": "proj_a", "models": ["o3"]}, {"name": "x"}]
    )
    events = list(own_changes.configured(NOW, config(), new))
    assert [(event.project, event.text) for event in events] == [
        (None, "The configuration changed: intervals.auth PT1M → PT5M."),
        ("checkout", 'The configuration changed: checkout: models ["gpt-4o"] → ["o3"].'),
        ("search", "The configuration changed: project search is gone."),
        ("x", "The configuration changed: project x is new."),
    ]
    assert events[1].project_id == "proj_a"
    assert {(event.kind, event.source) for event in events} == {(K.CONFIG_CHANGED, ChangeSource.CONFIGURATION)}
    assert list(own_changes.configured(NOW, config(), config())) == []
    for odd in ({}, {"projects": "x"}, {"projects": [None, 3]}):
        assert all(event.text for event in own_changes.configured(NOW, odd, config()))


def test_another_secret_under_the_same_label_is_told_by_its_last_characters() -> None:
    one = own_changes.rotated(NOW, "checkout", "proj_a", "backend", "0123456789abcdef…4f2c", "fedcba9876543210…9a1b")
    assert one.text == "Key “backend” of checkout has another secret: …4f2c → …9a1b."
    assert (one.kind, one.key, one.subject, one.project, one.project_id) == (
        K.KEY_ROTATED,
        "backend",
        "backend",
        "checkout",
        "proj_a",
    )


CATALOGUE = {K.MODEL_LISTED, K.MODEL_DELISTED, K.MODEL_SHUTDOWN}
"""What OpenAI offers to everybody is read and told elsewhere."""


def test_every_kind_is_reached() -> None:
    reached = {event.kind for difference, _ in DIFFERENCES for event in tell(difference)}
    reached |= {event.kind for event, _, _ in LOGGED for event in logged(event)}
    some = [
        changed(P.SERVICE_ACCOUNT, "svc_1", {"name": "x", "role": "a"}, {"name": "x", "role": "b"}),
        changed(P.MEMBER, "proj_a/user-1", None, {"name": "x"}),
        changed(P.MODEL_PERMISSIONS, "proj_a", permissions(D, "o3"), permissions(D, "gpt-4o")),
        changed(P.RATE_LIMIT, "proj_a/rl-x", {"model": "x", RPM: 5}, {"model": "x", RPM: 50}),
        changed(P.HOSTED_TOOLS, "proj_a", {"mcp": False}, {"mcp": True}),
        changed(P.SPEND_LIMIT, "proj_a", SPEND, SPEND | {"enforcement": "enforcing"}),
        changed(P.SPEND_ALERT, "alert_1", SPEND, None),
        changed(P.ADMIN_KEY, "key_a", {"name": "x"}, None, None),
    ]
    reached |= {event.kind for event in tell(*some)}
    soon = [item(kind, "x_1", expires_at=int(NOW.timestamp())) for kind in (P.API_KEY, P.CERTIFICATE)]
    reached |= {event.kind for event in expired(soon, BEFORE, NOW, NAMES)}
    reached |= {event.kind for event in own_changes.configured(NOW, config(), config(demo=True))}
    reached.add(own_changes.rotated(NOW, "a", None, "b", "", "…1234").kind)
    assert set(ChangeKind) - reached == CATALOGUE


# The same change told by two ------------------------------------------------------------------------------------------------------


def event(kind: ChangeKind, source: ChangeSource, at: datetime = NOW, **more: Any) -> ChangeEvent:
    facts = {"project_id": "proj_a", "subject": "rl-gpt-4o", "after": BEFORE if source is ChangeSource.SYNC else None} | more
    return ChangeEvent(at=at, kind=kind, source=source, text="x", **facts)


@pytest.mark.parametrize(
    ("seen", "said", "alike"),
    [
        ({}, {}, True),
        ({}, {"kind": K.RATE_LIMIT_CHANGED}, True),
        ({}, {"kind": K.RATE_LIMIT_RAISED}, True),
        ({}, {"kind": K.KEY_CHANGED}, False),
        ({}, {"subject": "rl-o3"}, False),
        ({}, {"project_id": "proj_b"}, False),
        ({}, {"project_id": None}, True),
        ({"project_id": None}, {}, False),
        ({}, {"at": BEFORE - timedelta(minutes=2)}, False),
        ({}, {"at": NOW + timedelta(minutes=2)}, False),
        ({"after": None}, {}, False),
        ({"subject": None}, {"subject": None}, False),
        ({"kind": K.MEMBER_ADDED}, {"kind": K.ROLE_CHANGED}, True),
        ({"kind": K.MEMBER_ADDED}, {"kind": K.MEMBER_REMOVED}, False),
        ({"kind": K.MEMBER_REMOVED}, {"kind": K.MEMBER_REMOVED, "project_id": None}, False),
    ],
)
def test_whether_two_tell_the_same_change(seen: dict[str, Any], said: dict[str, Any], alike: bool) -> None:
    one = event(**{"kind": K.RATE_LIMIT_LOWERED, "source": ChangeSource.SYNC} | seen)
    other = event(**{"kind": K.RATE_LIMIT_LOWERED, "source": ChangeSource.AUDIT_LOG, "at": NOW - timedelta(minutes=5)} | said)
    assert same(one, other) is alike
    assert not alike or (other.kind in like(one.kind) and one.kind in like(other.kind))


# Hostile --------------------------------------------------------------------------------------------------------------------------

_VALUES = (
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=30) | st.lists(st.text(max_size=5))
)
_FACTS = st.dictionaries(
    st.sampled_from(
        [
            *KEY,
            *LIMIT,
            *SPEND,
            "status",
            "expires_at",
            "mode",
            "model_ids",
            "mcp",
            "active",
            "role",
            "scopes",
            "title",
            "principal_id",
        ]
    ),
    _VALUES,
    max_size=8,
)


@given(st.sampled_from(list(ItemKind)), st.none() | _FACTS, st.none() | _FACTS, st.text(max_size=20))
def test_whatever_a_record_says_becomes_sentences(
    kind: ItemKind, was: dict[str, Any] | None, now: dict[str, Any] | None, number: str
):
    if was is None and now is None:
        return
    for each in tell(changed(kind, number or "x", was, now)):
        assert each.text
        assert len(each.text) <= 500
        assert each.dedup


@given(st.sampled_from([each.type for each, _, _ in LOGGED]) | st.text(max_size=30), st.none() | st.text(max_size=20), _FACTS)
def test_whatever_the_log_says_becomes_a_sentence(kind: str, subject: str | None, facts: dict[str, Any]) -> None:
    known = {subject or "": item(P.API_KEY, "key_1", **facts)}
    [one] = logged(AuditEvent("audit_1", kind, NOW, None, subject, None, facts), names=Names(known=known))
    assert one.text
    assert len(one.text) <= 500


def test_a_secret_in_a_name_is_in_no_sentence() -> None:
    whole = "sk-proj-TEST-not-a-key-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-4f2c"
    for each in tell(changed(P.API_KEY, "key_9", None, {"name": whole}), changed(P.MEMBER, "proj_a/u", None, {"name": whole})):
        assert "not-a-key" not in each.text
