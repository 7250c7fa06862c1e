"""Numbers on pages."""

from __future__ import annotations

from typing import Any

import pytest

from detection.templatetags.presentation import decimals, limit, needle, people, score, timecode, worst_first


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (9.96, "0:10.0"), (63.25, "1:03.2"), (3600, "60:00.0"), (None, "")]
)
def test_time_is_minutes_seconds_and_tenths(seconds: float | None, text: str) -> None:
    assert timecode(seconds) == text


def test_a_score_under_a_threshold_never_reads_as_if_it_had_reached_it() -> None:
    assert (score(0.966), limit(0.9688)) == ("0.96", "0.97")
    assert (score(0.57), limit(0.55)) == ("0.57", "0.55")  # exact values stay what they are
    assert score(None) == decimals(None) == "–"


@pytest.mark.parametrize(
    ("value", "place"), [(0, 0), (0.445, 166), (0.89, 333), (0.93, 500), (0.97, 667), (0.985, 833), (1, 1000)]
)
def test_each_verdict_has_a_third_of_the_scale(value: float, place: int) -> None:
    result = {"score": value, "suspicious_threshold": 0.89, "threshold": 0.97}
    assert needle(result) == pytest.approx(place, abs=1)


def test_thresholds_that_coincide_leave_no_room_between() -> None:
    assert needle({"score": 0.8, "suspicious_threshold": 0.8, "threshold": 0.8}) == 667


def test_flagged_faces_come_worst_first_with_the_number_that_people_are_called_by() -> None:
    def face(track: int, value: float, *, flagged: bool = True) -> dict[str, Any]:
        return {"track": track, "score": value, "flagged": flagged}

    result = {
        "tracks": [{"id": 3}, {"id": 7}],
        "frames": [
            {"time": 0.0, "index": 0, "faces": [face(3, 0.8), face(7, 0.1, flagged=False)]},
            {"time": 0.5, "index": 12, "faces": [face(7, 0.9)]},
        ],
    }
    found = worst_first(result)
    assert [(f["score"], f["time"], f["index"], f["person"]) for f in found] == [(0.9, 0.5, 12, 2), (0.8, 0.0, 0, 1)]
    assert [(track["id"], track["person"]) for track in people(result)] == [(3, 1), (7, 2)]
