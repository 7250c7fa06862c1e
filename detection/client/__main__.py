"""``python -m detection.client FILE... --server URL --token TOKEN``: have files checked by a server.

Exit code: 0 every file was analysed, 1 at least one was not, 2 the command line, the server or the token is wrong,
130 stopped by Ctrl-C (what was sent is cancelled).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from .client import Client
from .problems import ClientError, Problem
from .results import Analysis, Progress, Result

INTERRUPTED = 130
KINDS = ("json", "pdf")


@dataclass(slots=True)
class Job:
    """One file on its way."""

    path: Path
    id: str = ""
    analysis: Analysis | None = None
    error: ClientError | None = None

    @property
    def name(self) -> str:
        # A name on a disk is bytes; some are no text in any encoding.
        return str(self.path).encode("utf-8", "backslashreplace").decode()

    @property
    def is_done(self) -> bool:
        return self.analysis is not None or self.error is not None

    @property
    def has_failed(self) -> bool:
        return self.analysis is None or self.analysis.status != "succeeded"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    jobs = [Job(path) for path in options.files]
    with Client(options.server, options.token) as client:
        client.on_wait(lambda seconds: _say(f"The server asks for patience: going on in {seconds:.0f} s."))
        try:
            # Everything is sent first, so that the server is never idle while we wait for one of them.
            for job in jobs:
                _send(client, job, options)
            for job in jobs:
                _finish(client, job, options)
        except KeyboardInterrupt:
            _cancel(client, jobs)
            return INTERRUPTED
        except ClientError as error:
            _say(_explain(error))
            _cancel(client, jobs)
            return 2
    return int(any(job.has_failed for job in jobs))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m detection.client", description="Have videos and images checked by a Veriframe server."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    server = os.environ.get("VERIFRAME_URL", "http://127.0.0.1:8000")
    parser.add_argument("--server", default=server, metavar="URL", help="also from VERIFRAME_URL (%(default)s)")
    # Not shown as a default: help texts end up in bug reports.
    parser.add_argument(
        "--token", help="from your account page; also from VERIFRAME_TOKEN, which other users cannot see"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, in the order of the files")
    parser.add_argument("--force", action="store_true", help="also what the same model has seen before")
    parser.add_argument("--thorough", action="store_true", help="look at videos more closely, which takes longer")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help="save the report: NAME.json or NAME.pdf for one file, or a folder for both reports of every file",
    )
    options = parser.parse_args(arguments)
    options.token = options.token or os.environ.get("VERIFRAME_TOKEN", "")
    if options.output is not None and options.output.suffix[1:] in KINDS and len(options.files) > 1:
        parser.error("--output must be a folder when there are several files")
    return options


def _send(client: Client, job: Job, options: argparse.Namespace) -> None:
    """Upload. Raises ClientError if it is no use to go on, with this file or another."""
    bar = tqdm(desc=f"send {job.path.name[:25]}", unit="B", unit_scale=True, leave=False, file=sys.stderr)
    with bar:

        def on_sent(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            mode = "thorough" if options.thorough else ""
            job.id = client.upload(job.path, mode=mode, force=options.force, on_sent=on_sent).id
        except ClientError as error:
            if error.is_fatal:
                raise
            job.error = error
        except OSError as error:
            job.error = ClientError("unreadable_file", error.strerror or str(error))


def _finish(client: Client, job: Job, options: argparse.Namespace) -> None:
    """Wait, print, save."""
    if job.error is None:
        try:
            job.analysis = _wait(client, job)
            if options.output is not None:
                _save(client, job.analysis, options.output)
        except OSError as error:
            raise ClientError("cannot_write", f"{options.output}: {error.strerror or error}") from error
        except ClientError as error:
            if error.is_fatal:
                raise
            job.analysis, job.error = None, error
    print(_as_json(job) if options.json else _as_text(job), flush=True)


def _wait(client: Client, job: Job) -> Analysis:
    with tqdm(desc=f"check {job.path.name[:25]}", unit="frame", leave=False, file=sys.stderr) as bar:

        def on_progress(progress: Progress) -> None:
            bar.set_postfix_str(progress.stage or progress.status, refresh=False)
            bar.total = progress.frames_total or None
            bar.update(progress.frames_done - bar.n)

        return client.wait(job.id, on_progress)


def _save(client: Client, analysis: Analysis, output: Path) -> None:
    if analysis.status == "cancelled":
        return  # there is no report of it
    if output.suffix[1:] in KINDS:
        kind: Literal["json", "pdf"] = "pdf" if output.suffix == ".pdf" else "json"
        output.write_bytes(client.report(analysis.id, kind))
        return
    output.mkdir(parents=True, exist_ok=True)
    # The name that the server keeps has no folders in it; the id keeps two files of one name apart.
    stem = f"{Path(analysis.media.name).stem}-{analysis.id[:8]}"
    (output / f"{stem}.json").write_bytes(client.report(analysis.id, "json"))
    (output / f"{stem}.pdf").write_bytes(client.report(analysis.id, "pdf"))


def _cancel(client: Client, jobs: Sequence[Job]) -> None:
    """What nobody waits for any more should not keep the server busy."""
    waiting = [job for job in jobs if job.id and not job.is_done]
    if waiting:
        _say(f"Cancelling {len(waiting)} on the server.")
    for job in waiting:
        with contextlib.suppress(ClientError):  # ended in the meantime, or no answer: there is nothing left to do
            client.cancel(job.id)


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)


def _explain(error: ClientError) -> str:
    request = f" (request {error.request_id})" if isinstance(error, Problem) and error.request_id else ""
    return f"{error.code}: {error.detail}{request}" + (f"\n  {error.advice}" if error.advice else "")


def _as_json(job: Job) -> str:
    if job.analysis is None:
        assert job.error is not None
        return json.dumps({"file": job.name, "error": {"code": job.error.code, "message": job.error.detail}})
    return json.dumps({"file": job.name, **job.analysis.raw})


def _as_text(job: Job) -> str:
    if job.analysis is None:
        assert job.error is not None
        return f"{job.name}\n  not analysed  " + _explain(job.error).replace("\n", "\n              ")
    analysis = job.analysis
    if analysis.result is None:
        why = f"{analysis.error.code}: {analysis.error.message}" if analysis.error else analysis.status
        return f"{job.name}\n  not analysed  {why}"
    return "\n".join([job.name, *_summary(analysis.result)])


def _summary(result: Result) -> list[str]:
    score = "no score" if result.score is None else f"score {result.score:.3f}"
    threshold = "" if result.threshold is None else f"  (threshold {result.threshold:.3f})"
    lines = [f"  {result.verdict}  {score}{threshold}"]
    lines += [f"  because     {reason.code}: {reason.message}" for reason in result.reasons]
    for track in result.tracks:
        judged = "-" if track.score is None else f"{track.score:.3f}"
        spans = ", ".join(f"{s.start:.1f}-{s.end:.1f} s" for s in track.segments) or "none"
        lines.append(f"  face {track.id:<2}     {track.verdict} {judged}, flagged: {spans}")
    lines.append(f"  flagged     {result.deepfake_frames} of {result.total_frames} frames")
    lines.append(f"  model       {result.model}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
