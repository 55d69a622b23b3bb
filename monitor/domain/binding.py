"""Whether a key is held to its project: tried by listing models under another project's id, which a bound key must be refused.

Nobody outside OpenAI knows whether that endpoint looks at the header at all. So an answer that is no refusal proves nothing by
itself, unless the same endpoint refused another key, or says for which project it counts the call.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import FailureKind


class Tried(StrEnum):
    """What came of it. Stored: never rename."""

    REFUSED = "refused"
    """The key is held to its project."""
    KEPT = "kept"
    """Answered, and counted for the key's own project whatever the header said: held all the same."""
    CROSSED = "crossed"
    """Answered, and counted for the other project."""
    NOT_REFUSED = "not_refused"
    """Answered without saying for which project."""
    UNCLEAR = "unclear"
    """Another failure: it tells nothing."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One trial of one key."""

    at: datetime
    tried: Tried
    host: str
    """The base URL that was asked: what one endpoint does says nothing of another."""
    fingerprint: str | None
    """Of the key that was tried; another secret needs another trial."""
    other: str
    """The project here whose id was sent."""


def concluded(seen: Observation, own: str, other: str) -> Tried:
    """What the answer to a listing with the key of project `own` under the id `other` (both OpenAI's) shows."""
    echo = seen.project_echo
    if seen.status == 200:
        return Tried.CROSSED if echo == other else Tried.KEPT if echo == own else Tried.NOT_REFUSED
    if seen.verdict is Verdict.FAILED and seen.failure in (FailureKind.AUTH_WRONG_PROJECT, FailureKind.AUTH_WRONG_ORGANIZATION):
        return Tried.REFUSED
    return Tried.UNCLEAR
