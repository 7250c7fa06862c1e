"""A client of a Veriframe server, for programs and for the command line (``python -m detection.client``).

Needs httpx, websockets and tqdm, and nothing of the rest of this repository: the folder can be copied and used alone.

    with Client("https://veriframe.example.org", token="...") as client:
        analysis = client.wait(client.upload(Path("clip.mp4")).id)
        print(analysis.result.verdict, analysis.result.score)
"""

from .client import Client
from .problems import ClientError, Problem, Unreachable
from .results import Analysis, Face, Fault, Frame, Media, Progress, Result, Segment, Submitted, Track

__all__ = [
    "Analysis",
    "Client",
    "ClientError",
    "Face",
    "Fault",
    "Frame",
    "Media",
    "Problem",
    "Progress",
    "Result",
    "Segment",
    "Submitted",
    "Track",
    "Unreachable",
]
