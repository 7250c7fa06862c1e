"""The way of one file, first with a scripted face detector and classifier, then with the real ones."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from detection.engine import pipeline as pipeline_module
from detection.engine.classifier import Prediction
from detection.engine.errors import Cancelled, EngineError, ErrorCode
from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.media import VideoFile
from detection.engine.pipeline import Pipeline
from detection.engine.sandbox import Sandbox
from detection.engine.scoring import Challenger
from detection.engine.types import Box, Face, MediaKind, Mode, Progress, ReasonCode, Scored, Stage, Verdict
from tests import clips
from tests.engine.builders import SPEC

LANDMARKS = np.array([[70, 80], [130, 80], [100, 115], [100, 145]], np.float32)


class ScriptedFaces:
    """Finds the faces that it was told to, in every picture."""

    name = "scripted"

    def __init__(self, *offsets: int) -> None:
        self.faces = [
            Face(Box(50 + x, 40, 150 + x, 180), LANDMARKS + np.array([x, 0], np.float32), 0.9) for x in offsets
        ]

    def detect(self, image):
        return self.faces

    def follow(self, image, faces):
        return self.faces


class ScriptedClassifier:
    """Gives every crop the same logit and counts its calls."""

    def __init__(self, logit: float) -> None:
        self.logit, self.batches = logit, []

    def predict(self, crops):
        self.batches.append(len(crops))
        logits = np.full(len(crops), self.logit, np.float32)
        return Prediction(logits, np.tile(logits[:, None, None], (1, 2, 2)))


class RisingClassifier:
    """Finds each crop a little worse than the one before."""

    def __init__(self) -> None:
        self.logit = -5.0

    def predict(self, crops):
        logits = self.logit + np.arange(1, len(crops) + 1, dtype=np.float32) / 100
        self.logit = float(logits[-1])
        return Prediction(logits, np.tile(logits[:, None, None], (1, 2, 2)))


def pipeline(faces, classifier, **options):
    return Pipeline(spec=SPEC, classifier=classifier, face_detector=faces, **options)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 255, (240, 640, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


class TestScripted:
    def test_an_image_with_two_faces_gives_two_tracks(self, photo):
        result = pipeline(ScriptedFaces(0, 300), ScriptedClassifier(5.0)).run(photo)
        assert result.media.kind is MediaKind.IMAGE
        assert result.verdict is Verdict.MANIPULATED
        assert [len(t.scores) for t in result.tracks] == [1, 1]
        assert (result.total_frames, result.deepfake_frames, result.deepfake_ratio) == (1, 1, 1.0)

    def test_events_come_in_order_and_count_frames_read(self, photo):
        events = []
        pipeline(ScriptedFaces(0), ScriptedClassifier(-5.0)).run(photo, events.append)
        stages = [e.stage for e in events if isinstance(e, Progress)]
        assert stages == [Stage.PROBING, Stage.SCORING, Stage.EXPLAINING]
        assert events[-1] == Progress(Stage.EXPLAINING, 1, 1)
        (scored,) = [e for e in events if isinstance(e, Scored)]
        assert scored.points == ((0.0, pytest.approx(0.0067, abs=1e-3)),)

    def test_without_a_face_the_classifier_is_not_asked(self, photo):
        classifier = ScriptedClassifier(9.0)
        result = pipeline(ScriptedFaces(), classifier).run(photo)
        assert classifier.batches == []
        assert (result.verdict, result.score) == (Verdict.INCONCLUSIVE, None)
        assert [r.code for r in result.reasons] == [ReasonCode.NO_FACE]

    def test_the_first_face_is_scored_at_once_and_the_others_several_at_a_time(self, tmp_path):
        classifier, events = ScriptedClassifier(5.0), []
        film = clips.video(tmp_path / "film.mp4", frames=24, size=(320, 256), paint=texture)
        pipeline(ScriptedFaces(0), classifier, frames=20, batch_size=8).run(film, events.append)
        assert classifier.batches == [1, 8, 8, 3]
        assert [len(event.points) for event in events if isinstance(event, Scored)] == [1, 8, 8, 3]

    def test_a_crowd_is_bounded(self, photo):
        classifier = ScriptedClassifier(0.0)
        pipeline(ScriptedFaces(*range(0, 400, 10)), classifier, max_faces=5).run(photo)
        assert sum(classifier.batches) == 5

    def test_a_face_that_cannot_be_judged_is_neither_flagged_nor_shown(self, tmp_path):
        path = tmp_path / "flat.png"
        Image.new("RGB", (240, 240), (90, 90, 90)).save(path)
        events = []
        result = pipeline(ScriptedFaces(0), ScriptedClassifier(9.0)).run(path, events.append)
        assert result.deepfake_frames == 0
        assert not [e for e in events if isinstance(e, Scored)]  # nor drawn into the live curve
        assert [r.code for r in result.reasons] == [ReasonCode.TOO_BLURRY]

    def test_what_the_listener_raises_stops_the_run(self, photo):
        class Stop(Exception):  # noqa: N818
            pass

        def listener(event):
            raise Stop

        with pytest.raises(Stop):
            pipeline(ScriptedFaces(0), ScriptedClassifier(0.0)).run(photo, listener)

    def test_opencv_without_memory_is_a_memory_error(self, photo):
        class Greedy:
            name = "greedy"

            def detect(self, image):
                return cv2.resize(image, (2**31 - 1, 2**20))

        with pytest.raises(MemoryError):
            pipeline(Greedy(), ScriptedClassifier(0.0)).run(photo)

    def test_a_bad_file_is_a_coded_error_and_the_next_one_works(self, photo, tmp_path):
        bad = tmp_path / "bad.mp4"
        bad.write_bytes(b"not a video at all")
        machine = pipeline(ScriptedFaces(0), ScriptedClassifier(5.0))
        with pytest.raises(EngineError) as caught:
            machine.run(bad)
        assert caught.value.code is ErrorCode.UNREADABLE_MEDIA
        assert machine.run(photo).verdict is Verdict.MANIPULATED


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A hundred seconds in which nobody moves, with two keyframes."""
    still = texture()
    path = tmp_path_factory.mktemp("thorough") / "film.mp4"
    return clips.video(path, frames=200, rate=2, size=(320, 256), keyint=100, paint=lambda index: still)


class TestThorough:
    def test_every_second_is_scored_and_most_faces_lose_their_pictures(self, film, monkeypatch):
        monkeypatch.setattr("detection.engine.pipeline.MOST_PICTURES", 5)
        machine = pipeline(ScriptedFaces(0, 150), RisingClassifier())
        result = machine.run(film, mode=Mode.THOROUGH)
        assert result.total_frames == 100
        first, second = (track.scores for track in result.tracks)
        assert [score.index for score in first] == list(range(1, 200, 2))
        pictured = [score for score in (*first, *second) if score.crop is not None]
        assert all(score.evidence is not None for score in pictured)
        worst = sorted((*first, *second), key=lambda score: -score.score)[:5]
        assert all(score in pictured for score in worst)
        assert len(pictured) <= 5 + 2, "the worst, and one of each person"
        assert {score.track for score in pictured} == {0, 1}

    def test_a_usual_look_keeps_all(self, film, monkeypatch):
        monkeypatch.setattr("detection.engine.pipeline.MOST_PICTURES", 5)
        (track,) = pipeline(ScriptedFaces(0), RisingClassifier(), adaptive=False).run(film).tracks
        assert len(track.scores) == 32
        assert all(score.crop is not None and score.evidence is not None for score in track.scores)

    def test_to_a_picture_it_makes_no_difference(self, photo):
        machine = pipeline(ScriptedFaces(0, 300), ScriptedClassifier(5.0))
        usual, thorough = machine.run(photo), machine.run(photo, mode=Mode.THOROUGH)
        assert (usual.score, usual.total_frames) == (thorough.score, thorough.total_frames)
        assert all(score.crop is not None for track in thorough.tracks for score in track.scores)


class Spike:
    """Finds one crop of them all suspicious, the one with this number."""

    def __init__(self, number: int) -> None:
        self.number, self.seen = number, 0

    def predict(self, crops):
        logits = np.array([1.0 if self.seen + i == self.number else -5.0 for i in range(len(crops))], np.float32)
        self.seen += len(crops)
        return Prediction(logits, np.tile(logits[:, None, None], (1, 2, 2)))


class Visitor(ScriptedFaces):
    """One person, from the second frame of the first pass on another one, and in the first of the second pass a third.

    That is in order of time: one; one, a visitor, the other one; from then on two.
    """

    def __init__(self) -> None:
        super().__init__(0, 100, 150)
        self.asked = -1

    def detect(self, image):
        self.asked += 1
        one, visitor, other = self.faces
        return {0: [one], 16: [one, visitor, other]}.get(self.asked, [one, other])

    def follow(self, image, faces):
        return self.detect(image)


UNCLEAR = -1.0  # a logit below the thresholds of the test's model, but not far below


class TestTwoPasses:
    """Half of the frames first; the others where that is not enough."""

    def run(self, film, classifier, faces=(0,), events=None, **options):
        machine = pipeline(ScriptedFaces(*faces), classifier, **options)
        return machine.run(film, [].append if events is None else events.append)

    def times(self, result, track=0):
        return [score.time for score in result.tracks[track].scores]

    def test_a_clear_video_is_looked_at_once(self, film):
        events = []
        half = self.run(film, ScriptedClassifier(-5.0), events=events)
        whole = self.run(film, ScriptedClassifier(-5.0), adaptive=False)
        assert (half.total_frames, whole.total_frames) == (16, 32)
        assert set(self.times(half)) < set(self.times(whole))
        assert (half.verdict, half.score) == (whole.verdict, pytest.approx(whole.score))
        assert events[-1] == Progress(Stage.EXPLAINING, 16, 16)

    @pytest.mark.parametrize("logit", [UNCLEAR, 1.0, 5.0])
    def test_what_is_not_clear_is_looked_at_whole_in_order_of_time_and_nothing_twice(self, film, logit):
        events = []
        adaptive = self.run(film, ScriptedClassifier(logit), faces=(0, 150), events=events)
        whole = self.run(film, ScriptedClassifier(logit), faces=(0, 150), adaptive=False)
        assert adaptive.total_frames == whole.total_frames == 32
        for track in (0, 1):
            assert self.times(adaptive, track) == self.times(whole, track)
            assert [s.index for s in adaptive.tracks[track].scores] == [s.index for s in whole.tracks[track].scores]
        assert (adaptive.verdict, adaptive.score) == (whole.verdict, whole.score)
        assert adaptive.tracks[0].segments == whole.tracks[0].segments
        assert adaptive.deepfake_frames == whole.deepfake_frames

    def test_progress_never_goes_back_and_every_frame_is_told_once(self, film):
        events = []
        self.run(film, ScriptedClassifier(UNCLEAR), events=events)
        progress = [event for event in events if isinstance(event, Progress)]
        done = [event.frames_done for event in progress]
        assert done == [*range(33), 32]
        assert {event.frames_total for event in progress} == {32}
        points = [time for event in events if isinstance(event, Scored) for time, _ in event.points]
        assert len(points) == len(set(points)) == 32
        assert points != sorted(points), "those between come later"

    @pytest.mark.parametrize(("number", "frames"), [(0, 32), (9, 32), (15, 32), (16, 16)])
    def test_one_frame_that_rises_is_enough(self, film, number, frames):
        result = self.run(film, Spike(number))
        assert result.total_frames == frames
        assert result.verdict is Verdict.AUTHENTIC

    def test_people_are_followed_in_order_of_time_in_the_end(self, film):
        result = pipeline(Visitor(), ScriptedClassifier(UNCLEAR)).run(film)
        assert [len(track.scores) for track in result.tracks] == [32, 1, 31]

    def test_a_challenger_sees_all_frames_whatever_is_clear_to_the_other(self, film):
        challenger = Challenger(SPEC)
        result = pipeline(ScriptedFaces(0), ScriptedClassifier(-5.0)).run(film, challenger=challenger)
        assert result.total_frames == len(challenger._crops) == 32

    @pytest.mark.parametrize("logit", [-5.0, UNCLEAR, 5.0])
    def test_the_file_is_read_once(self, film, logit, monkeypatch):
        asked = []
        sample = VideoFile.sample
        monkeypatch.setattr(VideoFile, "sample", lambda *a, **options: asked.append(options) or sample(*a, **options))
        self.run(film, ScriptedClassifier(logit))
        assert len(asked) == 1

    def test_large_frames_do_not_wait(self, film, monkeypatch):
        held = 16 * 320 * 256 * 3
        for most, frames in ((held, 16), (held - 1, 32)):
            monkeypatch.setattr(pipeline_module, "MOST_HELD", most)
            assert self.run(film, ScriptedClassifier(-5.0)).total_frames == frames

    def test_it_can_be_stopped_between_the_passes(self, film):
        seen = []

        def listener(event):
            if isinstance(event, Progress) and event.frames_done == 17:
                raise Cancelled
            seen.append(event)

        with pytest.raises(Cancelled):
            pipeline(ScriptedFaces(0), ScriptedClassifier(UNCLEAR)).run(film, listener)
        assert max(event.frames_done for event in seen if isinstance(event, Progress)) == 16

    def test_few_frames_are_looked_at_at_once(self, film, tmp_path):
        assert self.run(film, ScriptedClassifier(-5.0), frames=31).total_frames == 31
        short = clips.video(tmp_path / "short.mp4", frames=31, size=(320, 256), paint=texture)
        assert self.run(short, ScriptedClassifier(-5.0)).total_frames == 31

    def test_a_thorough_look_is_not_cut_short(self, film):
        machine = pipeline(ScriptedFaces(0), ScriptedClassifier(-5.0))
        assert machine.run(film, mode=Mode.THOROUGH).total_frames == 100

    def test_nobody_to_be_seen_is_looked_for_in_all_frames(self, film):
        result = self.run(film, ScriptedClassifier(-5.0), faces=())
        assert (result.verdict, result.total_frames) == (Verdict.INCONCLUSIVE, 32)

    @pytest.mark.parametrize("logit", [UNCLEAR, 5.0])
    def test_decoded_in_the_sandbox_it_gives_the_same(self, film, logit):
        here = self.run(film, ScriptedClassifier(logit))
        there = self.run(film, ScriptedClassifier(logit), opener=Sandbox())
        assert self.times(there) == self.times(here)
        assert there.total_frames == 32


def texture(index: int = 0) -> np.ndarray:
    """A picture with the fine and coarse detail of a photograph, drifting by two pixels a frame."""
    noise = np.random.default_rng(0).normal(0, 1, (256, 320)).astype(np.float32)
    coarse, fine = (cv2.GaussianBlur(noise, (0, 0), sigma) for sigma in (8, 1))
    grey = 128 + 45 * coarse / coarse.std() + 12 * fine / fine.std()
    drifted = np.roll(grey, 2 * index, axis=1)
    return np.repeat(np.clip(drifted, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


class TestCompression:
    """The same scene, saved with care and saved to nothing."""

    @pytest.fixture
    def machine(self):
        return pipeline(ScriptedFaces(0), ScriptedClassifier(5.0), frames=8)

    def film(self, path, crf, paint=texture):
        options = {"crf": str(crf), "preset": "veryfast"}
        return clips.video(path, frames=24, size=(320, 256), paint=paint, keyint=250, options=options)

    def assert_too_compressed(self, result):
        assert (result.verdict, result.score) == (Verdict.INCONCLUSIVE, None)
        assert [r.code for r in result.reasons] == [ReasonCode.TOO_COMPRESSED]
        assert result.deepfake_frames == 0

    @pytest.mark.parametrize("crf", [20, 28])
    def test_what_cameras_and_networks_do_is_judged(self, machine, tmp_path, crf):
        assert machine.run(self.film(tmp_path / "film.mp4", crf)).verdict is Verdict.MANIPULATED

    def test_a_face_that_hardly_moves_needs_few_bits_and_is_judged(self, machine, tmp_path):
        path = self.film(tmp_path / "still.mp4", 28, paint=lambda index: texture())
        assert 8 * path.stat().st_size / (24 * 320 * 256) < 0.1  # bits per pixel
        assert machine.run(path).verdict is Verdict.MANIPULATED

    def test_a_video_that_was_squeezed_is_not_judged(self, machine, tmp_path):
        self.assert_too_compressed(machine.run(self.film(tmp_path / "film.mp4", 51)))

    def test_saving_it_again_with_care_does_not_help(self, machine, tmp_path):
        with av.open(str(self.film(tmp_path / "film.mp4", 51))) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        self.assert_too_compressed(machine.run(self.film(tmp_path / "again.mp4", 16, paint=frames.__getitem__)))

    @pytest.mark.parametrize("quality", [40, 75, 95])
    def test_a_jpeg_of_common_quality_is_judged(self, machine, tmp_path, quality):
        path = clips.picture(tmp_path / "photo.jpg", Image.fromarray(texture()), quality=quality)
        assert machine.run(path).verdict is Verdict.MANIPULATED

    def test_a_jpeg_of_the_lowest_quality_is_not(self, machine, tmp_path):
        path = clips.picture(tmp_path / "photo.jpg", Image.fromarray(texture()), quality=5)
        self.assert_too_compressed(machine.run(path))


@pytest.fixture(scope="module")
def real_pipeline():
    return build_pipeline(EngineConfig())


class TestReal:
    def test_a_clip_travels_to_a_verdict(self, real_pipeline, shared_data):
        events = []
        result = real_pipeline.run(shared_data / "clips/val/deepfakes/035_036.mp4", events.append)
        assert result.media.kind is MediaKind.VIDEO
        assert result.verdict in (Verdict.MANIPULATED, Verdict.SUSPICIOUS)
        assert 16 <= result.total_frames <= 32
        times = [s.time for s in result.tracks[0].scores]
        assert times == sorted(times)
        points = [p for e in events if isinstance(e, Scored) for p in e.points]
        assert len(points) == len({s.time for t in result.tracks for s in t.scores})
        done = [e.frames_done for e in events if isinstance(e, Progress)]
        assert done == sorted(done)
        assert {"probe", "decode", "faces", "crop", "classify", "aggregate", "total"} <= set(result.timings)

    def test_every_validation_clip_gets_an_answer_and_no_real_one_an_alarm(self, real_pipeline, shared_data):
        verdicts = {
            clip: real_pipeline.run(clip).verdict for clip in sorted((shared_data / "clips/val").glob("*/*.mp4"))
        }
        assert len(verdicts) == 24
        real = [verdict for clip, verdict in verdicts.items() if clip.parent.name == "real"]
        fake = [verdict for clip, verdict in verdicts.items() if clip.parent.name != "real"]
        assert real == [Verdict.AUTHENTIC] * 8
        # Measured: 12 of 16. Rounding differs between processors, so two may slip.
        assert sum(verdict in (Verdict.SUSPICIOUS, Verdict.MANIPULATED) for verdict in fake) >= 10

    def test_the_same_clip_scores_the_same_twice(self, real_pipeline, shared_data):
        clip = shared_data / "clips/val/real/035.mp4"
        assert real_pipeline.run(clip).score == real_pipeline.run(clip).score

    def test_both_face_detectors_lead_to_a_close_score(self, real_pipeline, shared_data, shared_models):
        # The crop is cut from eyes and mouth, so it must not matter much who found the face.
        yunet = build_pipeline(
            EngineConfig(face_detector="yunet", yunet_model=shared_models / "face_detection_yunet_2023mar.onnx")
        )
        gaps = []
        for clip in sorted((shared_data / "clips/val/real").glob("*.mp4"))[:4]:
            first, second = real_pipeline.run(clip).score, yunet.run(clip).score
            gaps.append(abs(first - second))
        assert np.median(gaps) < 0.15
