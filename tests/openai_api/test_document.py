"""What we ask of the Administration API, beside OpenAI's own document of it. Skipped where that document is not at hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from monitor.domain import audit
from monitor.domain.changes import ChangeKind
from monitor.openai_api.organization import _BUCKETS, _NO_CHANGE, ORGANIZATION_PARTS, PROJECT_PARTS, USAGE_ENDPOINTS, Part

_NOT_IN_IT = {"/organization/certificates"}
"""The trimmed document leaves it out."""


@pytest.fixture(scope="module")
def document(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "openapi" / "openai-subset.json").read_text())  # type: ignore[no-any-return]


def parameters(document: dict[str, Any], path: str) -> dict[str, Any]:
    return {each["name"]: each["schema"] for each in document["paths"][path]["get"].get("parameters", ())}


@pytest.mark.parametrize("part", [*ORGANIZATION_PARTS, *PROJECT_PARTS], ids=lambda part: part.path)
def test_every_part_is_read_as_the_document_says(document: dict[str, Any], part: Part) -> None:
    path = "/organization/" + part.path.replace("{project}", "{project_id}")
    if path in _NOT_IN_IT:
        return
    known = parameters(document, path)
    assert set(part.parameters or {}) <= set(known)
    assert ("limit" in known) is part.listed
    if part.listed:
        assert known["limit"].get("maximum", 100) >= 100
        assert "after" in known


@pytest.mark.parametrize("endpoint", USAGE_ENDPOINTS)
def test_usage_is_asked_as_the_document_says(document: dict[str, Any], endpoint: str) -> None:
    known = parameters(document, f"/organization/usage/{endpoint}")
    assert {"start_time", "end_time", "bucket_width", "group_by", "limit", "page"} <= set(known)
    assert {name for name, *_ in _BUCKETS.values()} == set(known["bucket_width"]["enum"])
    assert {"project_id", "api_key_id", "model"} <= set(known["group_by"]["items"]["enum"])


def test_every_word_of_the_audit_log_has_a_kind_or_none_of_ours(document: dict[str, Any]) -> None:
    [words] = _enums(document["components"]["schemas"], "AuditLogEventType")
    told = [word for word in words if not word.startswith(("login.", "logout."))]
    other = {word for word in told if audit.kind_of(word) is ChangeKind.OTHER}
    for family in (
        "api_key.", "service_account.", "rate_limit.", "project.", "ip_allowlist.", "certificate", "role.", "user.",
        "tenant.admin_api_key.", "tenant.project_api_key.", "tenant.service_account.", "tenant.billing.", "tenant.policy.",
        "tenant.product_access_policy.", "tenant.resource_role_assignment.", "tenant.role_assignment.", "tenant.custom_role.",
        "tenant.usage_limit.workspace.", "tenant.usage_limit.group.", "tenant.usage_limit.user.", "tenant.user.added",
        "tenant.user.updated", "tenant.user.removed",
    ):  # fmt: skip
        assert not [word for word in other if word.startswith(family)], family
    assert {audit.kind_of(word) for word in told} >= {
        ChangeKind.KEY_DELETED, ChangeKind.PROJECT_ARCHIVED, ChangeKind.ADMIN_KEY_CHANGED, ChangeKind.SPEND_LIMIT_CHANGED,
        ChangeKind.MEMBER_REMOVED, ChangeKind.IP_ALLOWLIST_CHANGED, ChangeKind.ORGANIZATION_CHANGED,
    }  # fmt: skip


def test_the_tenant_s_log_is_asked_for_as_the_document_says(document: dict[str, Any]) -> None:
    known = parameters(document, "/organization/audit_logs")
    assert known["tenant_only"]["type"] == "boolean"
    [words] = _enums(document["components"]["schemas"], "AuditLogEventType")
    assert {word for word in words if word.startswith(_NO_CHANGE)} == {
        "login.succeeded", "login.failed", "logout.succeeded", "logout.failed", "tenant.user.looked_up",
        "tenant.workload_identity.access_token.issued", "tenant.principal_authentication_policy.resolved",
    }  # fmt: skip


def _enums(found: Any, name: str) -> list[list[str]]:
    if not isinstance(found, dict):
        return []
    here = [found[name]["enum"]] if isinstance(found.get(name), dict) and "enum" in found[name] else []
    return [*here, *(enum for value in found.values() for enum in _enums(value, name))]
