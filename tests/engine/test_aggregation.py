"""Verdicts from scores: what counts, what does not, and when the engine must say that it cannot tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detection.engine import aggregation
from detection.engine.types import ReasonCode, Verdict
from tests.engine.builders import IMAGE, POINT, SPEC, VIDEO, face_score


def track_of(logits, *, track=0, media=VIDEO, **quality):
    scores = [face_score(v, time=float(i), track=track, **quality) for i, v in enumerate(logits)]
    return aggregation.judge_track(track, scores, media, SPEC)


class TestCalibration:
    def test_is_platts_sigmoid(self):
        point = replace(POINT, slope=2.0, intercept=-1.0)
        assert aggregation.calibrate(0.5, point) == pytest.approx(0.5)
        assert aggregation.calibrate(1.0, point) == pytest.approx(0.7310586)

    @pytest.mark.parametrize("logit", [-1e9, 1e9])
    def test_stays_strictly_inside_zero_and_one(self, logit):
        assert 0 < aggregation.calibrate(logit, POINT) < 1

    @pytest.mark.parametrize(
        ("score", "verdict"),
        [
            (0.0, Verdict.AUTHENTIC),
            (0.59, Verdict.AUTHENTIC),
            (0.6, Verdict.SUSPICIOUS),
            (0.8, Verdict.MANIPULATED),
        ],
    )
    def test_thresholds_belong_to_the_worse_side(self, score, verdict):
        assert aggregation.verdict_of(score, POINT) is verdict

    def test_stills_and_videos_have_their_own_operating_point(self):
        spec = replace(SPEC, video=replace(POINT, suspicious=0.3, manipulated=0.4))
        verdicts = [
            aggregation.judge_track(0, [face_score(0.0, time=float(i)) for i in range(frames)], media, spec).verdict
            for media, frames in ((IMAGE, 1), (VIDEO, 8))
        ]
        assert verdicts == [Verdict.AUTHENTIC, Verdict.MANIPULATED]


class TestTrack:
    def test_logits_are_averaged_not_scores(self):
        # Mean probability would be 0.5; the mean logit of -9 and 3 says "no signs".
        result = track_of([-9, 3, -9, 3])
        assert result.score == pytest.approx(aggregation.calibrate(-3.0, POINT))
        assert result.verdict is Verdict.AUTHENTIC

    def test_a_manipulated_stretch_does_not_drown_in_a_long_genuine_video(self):
        partial = track_of([-5.0] * 16 + [4.0] * 8 + [-5.0] * 8)
        assert partial.verdict is Verdict.MANIPULATED
        assert partial.score == pytest.approx(aggregation.calibrate(4.0, POINT))

    def test_seven_frames_in_a_row_are_not_enough(self):
        assert track_of([-5.0] * 16 + [1.5] * 7 + [-5.0] * 9).verdict is Verdict.AUTHENTIC

    @pytest.mark.parametrize("times", [1, 2, 20])
    def test_of_more_frames_a_stretch_must_be_longer(self, times):
        logits = [[-5.0] * 16, [4.0] * 8, [-5.0] * 8]
        partial = track_of([logit for part in logits for logit in part * times])
        assert partial.score == pytest.approx(aggregation.calibrate(4.0, POINT))
        shorter = [[-5.0] * 16, [1.5] * 7, [-5.0] * 9]
        assert track_of([logit for part in shorter for logit in part * times]).verdict is Verdict.AUTHENTIC

    def test_a_stretch_below_the_alarm_changes_nothing(self):
        # 1.0 is a score of 0.73: suspicious, but no alarm.
        logits = [-2.0] * 16 + [1.0] * 8 + [-2.0] * 8
        assert track_of(logits).score == pytest.approx(aggregation.calibrate(-1.25, POINT))

    def test_small_faces_count_less(self):
        scores = [face_score(4.0, time=t, face_size=112) for t in (0, 1)]
        scores += [face_score(-4.0, time=t, face_size=64) for t in (2, 3)]
        assert aggregation.mean_logit(scores) > 0

    def test_unusable_faces_do_not_count(self):
        scores = [face_score(-5.0, time=float(t)) for t in range(4)]
        scores += [face_score(9.0, time=float(t), sharpness=1.0) for t in range(4, 7)]
        result = aggregation.judge_track(0, scores, VIDEO, SPEC)
        assert result.verdict is Verdict.AUTHENTIC
        assert len(result.scores) == 7

    @pytest.mark.parametrize(
        ("quality", "code"),
        [
            ({"face_size": 30.0}, ReasonCode.FACE_TOO_SMALL),
            ({"detail": 0.3}, ReasonCode.FACE_TOO_SMALL),
            ({"brightness": 5.0}, ReasonCode.TOO_DARK),
            ({"sharpness": 1.0}, ReasonCode.TOO_BLURRY),
            ({"blockiness": 2.5}, ReasonCode.TOO_COMPRESSED),
            ({"blockiness": 2.5, "sharpness": 1.0}, ReasonCode.TOO_COMPRESSED),
            ({"face_size": 30.0, "sharpness": 1.0}, ReasonCode.FACE_TOO_SMALL),
        ],
    )
    def test_a_track_that_cannot_be_judged_says_why_and_has_no_score(self, quality, code):
        result = track_of([9.0] * 8, **quality)
        assert result.verdict is Verdict.INCONCLUSIVE
        assert result.score is None
        assert [r.code for r in result.reasons] == [code]
        assert result.reasons[0].message

    def test_blocks_mean_more_in_a_video_than_in_a_picture(self):
        assert [r.code for r in track_of([9.0] * 8, blockiness=1.7).reasons] == [ReasonCode.TOO_COMPRESSED]
        assert track_of([9.0], media=IMAGE, blockiness=1.7).verdict is Verdict.MANIPULATED

    @pytest.mark.parametrize(("blocky", "verdict"), [(4, Verdict.MANIPULATED), (5, Verdict.INCONCLUSIVE)])
    def test_compression_of_most_frames_is_that_of_the_file(self, blocky, verdict):
        scores = [face_score(9.0, time=float(t), blockiness=2.0 if t < blocky else 1.0) for t in range(9)]
        assert aggregation.judge_track(0, scores, VIDEO, SPEC).verdict is verdict

    def test_three_frames_of_a_video_are_too_few(self):
        assert [r.code for r in track_of([9.0] * 3).reasons] == [ReasonCode.FEW_FRAMES]

    def test_a_video_shorter_than_a_second_is_too_short(self):
        short = replace(VIDEO, duration=0.04)
        assert [r.code for r in track_of([9.0], media=short).reasons] == [ReasonCode.TOO_SHORT]

    def test_an_image_needs_one_face_only(self):
        assert track_of([9.0], media=IMAGE).verdict is Verdict.MANIPULATED


class TestSegments:
    def test_neighbours_join_and_reach_half_way(self):
        flags = [False, True, True, False, False, True]
        scores = [face_score(time=float(t), flagged=f) for t, f in enumerate(flags)]
        assert [(s.start, s.end) for s in aggregation.segments_of(scores)] == [(0.5, 2.5), (4.5, 5.0)]

    def test_everything_flagged_is_one_segment(self):
        scores = [face_score(time=t / 2, flagged=True) for t in range(5)]
        assert [(s.start, s.end) for s in aggregation.segments_of(scores)] == [(0.0, 2.0)]

    def test_nothing_flagged_is_no_segment(self):
        assert aggregation.segments_of([face_score()]) == ()


class TestFile:
    def test_the_worst_credible_track_speaks(self):
        tracks = [track_of([-5] * 4), track_of([5] * 4, track=1), track_of([9] * 4, track=2, face_size=20.0)]
        verdict, score, reasons = aggregation.judge_file(tracks)
        assert (verdict, reasons) == (Verdict.MANIPULATED, ())
        assert score == tracks[1].score

    def test_without_a_face_there_is_no_score(self):
        verdict, score, reasons = aggregation.judge_file([])
        assert (verdict, score) == (Verdict.INCONCLUSIVE, None)
        assert [r.code for r in reasons] == [ReasonCode.NO_FACE]

    def test_without_a_credible_track_the_longest_says_why(self):
        tracks = [track_of([9] * 2), track_of([9] * 8, track=1, face_size=20.0)]
        verdict, score, reasons = aggregation.judge_file(tracks)
        assert (verdict, score) == (Verdict.INCONCLUSIVE, None)
        assert [r.code for r in reasons] == [ReasonCode.FACE_TOO_SMALL]


def test_every_reason_code_has_a_message():
    assert set(aggregation.MESSAGES) == set(ReasonCode)


class TestSettled:
    """When half of the frames are enough. The test's thresholds are .6 and .8, at logits of .41 and 1.39."""

    CALM = (-4.0, -3.9, -4.1, -4.0) * 4

    def settled(self, *tracks):
        return aggregation.is_settled(tracks, SPEC, VIDEO.kind)

    def test_calm_and_clearly_authentic(self):
        assert self.settled(track_of(self.CALM))
        assert self.settled(track_of(self.CALM), track_of(self.CALM, track=1))

    def test_nobody_is_not_settled(self):
        assert not self.settled()

    @pytest.mark.parametrize("place", [0, 7, 15])
    def test_one_face_that_looks_suspicious_is_enough(self, place):
        logits = list(self.CALM)
        logits[place] = 0.5
        assert track_of(logits).verdict is Verdict.AUTHENTIC
        assert not self.settled(track_of(logits))

    @pytest.mark.parametrize("logit", [5.0, 1.0])
    def test_an_alarm_is_looked_at_closely_however_clear(self, logit):
        assert not self.settled(track_of([logit] * 16))

    def test_what_lies_near_the_threshold_is_not_settled(self):
        assert self.settled(track_of([-1.2] * 16))
        assert not self.settled(track_of([-1.0] * 16))

    def test_what_wavers_must_lie_further_away(self):
        wavering = [-1.2 - 1.5, -1.2 + 1.5] * 8
        assert track_of(wavering).score == pytest.approx(track_of([-1.2] * 16).score)
        assert not self.settled(track_of(wavering))

    def test_a_short_track_is_not_settled(self):
        assert self.settled(track_of(self.CALM[:8]))
        assert not self.settled(track_of(self.CALM[:7]))
        assert not self.settled(track_of(self.CALM), track_of(self.CALM[:7], track=1))

    def test_faces_that_cannot_be_judged_do_not_count(self):
        small = [face_score(-4.0, time=20.0 + i, face_size=20.0) for i in range(9)]
        seven = [face_score(v, time=float(i)) for i, v in enumerate(self.CALM[:7])]
        assert not self.settled(aggregation.judge_track(0, seven + small, VIDEO, SPEC))

    def test_somebody_who_cannot_be_judged_at_all_is_not_settled(self):
        assert not self.settled(track_of(self.CALM), track_of(self.CALM, track=1, sharpness=1.0))
