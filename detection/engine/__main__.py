"""``python -m detection.engine FILE... [--json]``: the engine without a server.

Exit code: 0 every file was analysed, 1 at least one was not, 2 the command line or the model is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from detection.engine.errors import EngineError, ErrorCode, ModelError
from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.pipeline import Pipeline
from detection.engine.runtimes import RuntimeName
from detection.engine.sampling import MOST_FRAMES
from detection.engine.types import AnalysisResult, Event, FaceScore, Mode, Progress, Stage, TrackResult


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        pipeline = build_pipeline(
            EngineConfig(
                model=options.model,
                models_dir=options.models_dir,
                runtime=options.runtime,
                face_detector="yunet" if options.yunet_model else "blazeface",
                yunet_model=options.yunet_model,
                frames=options.frames,
                threads=options.threads,
            )
        )
    except ModelError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return 2
    failed = False
    for path in options.files:
        outcome = _analyse(pipeline, path, options.mode)
        failed |= isinstance(outcome, EngineError)
        print(_as_json(path, outcome) if options.json else _as_text(path, outcome), flush=True)
    return 1 if failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m detection.engine",
        description="Look for signs of manipulation in the faces of videos and images.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, in the order of the files")
    parser.add_argument("--frames", type=_frames, default=32, help="frames looked at in a video (32)")
    parser.add_argument(
        "--mode",
        type=Mode,
        choices=list(Mode),
        default=Mode.STANDARD,
        help="thorough: at least one frame a second and twice as many as --frames",
    )
    parser.add_argument("--threads", type=_positive, default=os.cpu_count() or 1, help="threads of the network")
    parser.add_argument("--model", help="name in the registry; its default when left out")
    parser.add_argument("--models-dir", type=Path, metavar="FOLDER", help="of imported models, to name one of them")
    parser.add_argument("--runtime", choices=get_args(RuntimeName), default="auto", help="what runs the network (auto)")
    parser.add_argument(
        "--yunet-model", type=Path, metavar="ONNX", help="find faces with OpenCV's YuNet from this file"
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _frames(text: str) -> int:
    number = _positive(text)
    if number > MOST_FRAMES:
        raise argparse.ArgumentTypeError(f"must be at most {MOST_FRAMES}")
    return number


def _analyse(pipeline: Pipeline, path: Path, mode: Mode) -> AnalysisResult | EngineError:
    with tqdm(desc=path.name[:30], unit="frame", leave=False, file=sys.stderr) as bar:

        def on_event(event: Event) -> None:
            if isinstance(event, Progress) and event.stage is not Stage.PROBING:
                bar.total = event.frames_total
                bar.update(event.frames_done - bar.n)

        try:
            return pipeline.run(path, on_event, mode=mode)
        except EngineError as error:
            return error
        except MemoryError:
            return EngineError(ErrorCode.OUT_OF_MEMORY, "There was not enough memory for this file.")
        except Exception:  # noqa: BLE001  (one odd file must not keep the others from their answer)
            traceback.print_exc()
            return EngineError(ErrorCode.INTERNAL_ERROR, "Something went wrong; the traceback is above.")


def _as_json(path: Path, outcome: AnalysisResult | EngineError) -> str:
    if isinstance(outcome, EngineError):
        return json.dumps({"file": str(path), "error": {"code": outcome.code, "message": outcome.message}})
    return json.dumps({"file": str(path), **as_dict(outcome)})


def as_dict(result: AnalysisResult) -> dict[str, Any]:
    """The result in the words of the API, without pictures."""
    frames: dict[float, list[FaceScore]] = {}
    for track in result.tracks:
        for score in track.scores:
            frames.setdefault(score.time, []).append(score)
    return {
        "verdict": result.verdict,
        "score": _rounded(result.score),
        "reasons": [{"code": r.code, "message": r.message} for r in result.reasons],
        "tracks": [_track(track) for track in result.tracks],
        "frames": [
            {"time": round(time, 3), "index": scores[0].index, "faces": [_face(s) for s in scores]}
            for time, scores in sorted(frames.items())
        ],
        "total_frames": result.total_frames,
        "deepfake_frames": result.deepfake_frames,
        "timings": result.timings,
        "model": {
            "name": result.model.name,
            "version": result.model.version,
            "sha256": result.model.sha256,
            "threshold": result.model.threshold,
        },
    }


def _track(track: TrackResult) -> dict[str, Any]:
    return {
        "id": track.id,
        "score": _rounded(track.score),
        "verdict": track.verdict,
        "reasons": [{"code": r.code, "message": r.message} for r in track.reasons],
        "segments": [{"start": round(s.start, 3), "end": round(s.end, 3)} for s in track.segments],
        "faces": len(track.scores),
    }


def _face(score: FaceScore) -> dict[str, Any]:
    return {
        "track": score.track,
        "box": score.box.as_dict(),
        "score": _rounded(score.score),
        "flagged": score.flagged,
    }


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 4)


def _as_text(path: Path, outcome: AnalysisResult | EngineError) -> str:
    # A name on a disk is bytes; some are no text in any encoding.
    name = str(path).encode("utf-8", "backslashreplace").decode()
    if isinstance(outcome, EngineError):
        return f"{name}\n  not analysed  {outcome.code}: {outcome.message}"
    score = "no score" if outcome.score is None else f"score {outcome.score:.3f}"
    lines = [name, f"  {outcome.verdict}  {score}  (threshold {outcome.model.threshold:.3f})"]
    lines += [f"  because     {r.code}: {r.message}" for r in outcome.reasons]
    for track in outcome.tracks:
        judged = "-" if track.score is None else f"{track.score:.3f}"
        spans = ", ".join(f"{s.start:.1f}-{s.end:.1f} s" for s in track.segments) or "none"
        seen = f"seen in {len(track.scores)} frames, flagged: {spans}"
        lines.append(f"  face {track.id:<2}     {track.verdict} {judged}, {seen}")
    times = sorted({s.time for t in outcome.tracks for s in t.scores if s.flagged})
    flagged = ", ".join(f"{time:.2f}" for time in times) or "none"
    lines.append(f"  flagged     {outcome.deepfake_frames} of {outcome.total_frames} frames; at seconds: {flagged}")
    lines.append("  timings     " + ", ".join(f"{k} {v:.2f} s" for k, v in outcome.timings.items()))
    lines.append(f"  model       {outcome.model.name} {outcome.model.version} {outcome.model.sha256[:12]}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
