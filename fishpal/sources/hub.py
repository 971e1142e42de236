"""What every access to the hub has in common."""

from __future__ import annotations

from fishpal.common.errors import brief


def offline(error: Exception) -> str:
    """What a failed access to the hub says, in one line."""
    lines = str(error).splitlines() or [""]
    reason = brief(f"{type(error).__name__}: {lines[0]}", 160)
    remedy = "a network, or a filled cache with HF_HUB_OFFLINE=1"
    return f"cannot be fetched ({reason}); allowed: {remedy}"
