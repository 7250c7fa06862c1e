"""When reviewers' opinions make a decision. Looks at nothing but its arguments and the settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from django.conf import settings

from detection.engine.types import Verdict

TWO, THREE = 2, 3


def needed(*, disputed: bool) -> int:
    """How many reviewers must agree."""
    return TWO if disputed else int(settings.REVIEWERS)


def settle(opinions: Sequence[str], agreeing: int) -> str | None:
    """The verdict once so many agree, or None: somebody more must look.

    Two who differ need a third. Where all three differ nobody can tell, and that is the verdict.
    """
    if not opinions:
        return None
    verdict, votes = Counter(opinions).most_common(1)[0]
    if votes >= agreeing:
        return verdict
    return str(Verdict.INCONCLUSIVE) if len(opinions) >= THREE else None
