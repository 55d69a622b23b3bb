"""How the Administration API shows keys, without showing them."""

from collections.abc import Callable

_KINDS = ("sk-proj-", "sk-svcacct-", "sk-service-", "sk-admin-", "sk-None-", "sk-")


def kind_of(secret: str) -> str:
    """How a key of its kind begins; empty for what is no key."""
    return next((kind for kind in _KINDS if secret.startswith(kind)), "")


def documented(secret: str) -> str:
    """As the reference's examples: `sk-abc...def`, and `sk-admin...def`, which tells nothing but the kind and three characters."""
    return f"{'sk-admin' if secret.startswith('sk-admin-') else secret[:6]}...{secret[-3:]}"


def prefixed(secret: str) -> str:
    """The kind and three characters from either end of the rest."""
    kind = kind_of(secret)
    return f"{kind}{secret[len(kind) : len(kind) + 3]}...{secret[-3:]}"


def starred(secret: str) -> str:
    """As long as the key, with its last four characters."""
    kind = kind_of(secret)
    return f"{kind}{'*' * min(max(len(secret) - len(kind) - 4, 2), 150)}{secret[-4:]}"


REDACTIONS: dict[str, Callable[[str], str]] = {"documented": documented, "prefixed": prefixed, "starred": starred}
"""How keys are shown. What the real API shows of a key is published nowhere: the default are its reference's examples."""
