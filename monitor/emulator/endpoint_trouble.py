"""What may be wrong with the Administration API on purpose."""

from dataclasses import dataclass

TROUBLES = ("error", "forbidden", "absent", "unauthorized", "limited", "not_json", "same_page", "endless")
"""What may be wrong with an endpoint: 500, 403, 404, 401, 429, a page of HTML, a last page that says there is more after it, and a
list that goes on for ever with new ids."""
TENANT_LOG = "tenant_audit_logs"
"""How the audit log is called as an endpoint where it is asked for the tenant's events alone."""


@dataclass(frozen=True)
class EndpointTrouble:
    """Something wrong with endpoints of the Administration API on purpose."""

    kind: str
    endpoint: str | None
    project: str | None
    share: float
    until: float

    def hits(self, path: str, now: float, chance: float) -> bool:
        """Whether it concerns a request for `path`, as it stands below /v1/organization."""
        parts = path.strip("/").split("/")
        here = self.endpoint is None or self.endpoint in (path.strip("/"), parts[-1], "/".join(parts[-2:]), parts[0])
        mine = self.project is None or (len(parts) > 1 and parts[0] == "projects" and parts[1] == self.project)
        return here and mine and now < self.until and chance < self.share
