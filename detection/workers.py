"""Which sets of workers there are: what each works on, with how many threads, and how much it takes at once.

A set is a process, or several of the same kind (``manage.py worker SET --processes N``), or threads of the server where
one process is all there is. Two rules are behind the numbers. A process takes messages from every queue that it
listens to before it has a free thread, so one that listened to pictures and videos would keep a picture waiting behind
its video while another process idles: each queue of analyses has workers of its own. And what is done at the same time
is better done in processes than in threads: each has its own limit of memory, and one that dies takes no other analysis
along.

Time limits are the actors': see ``tasks`` and ``webhooks.delivery``. Queues have their names here once more, because
``manage.py worker`` knows no actors: it ends before anything is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerSet:
    queues: tuple[str, ...]
    threads: int
    prefetch: int  # messages taken from each queue, those that are being worked on included


# One analysis keeps VERIFRAME_THREADS cores busy, so a second thread would only slow the first one down; and a message
# that is taken in advance waits behind a long one while another worker has nothing to do.
_ANALYSES = {"threads": 1, "prefetch": 1}

SETS = {
    "images": WorkerSet(("images",), **_ANALYSES),
    "videos": WorkerSet(("videos",), **_ANALYSES),
    # These wait for other people's servers nearly all the time, up to ten seconds each: a slow one must not hold up the
    # rest. Each message is quick, so the next ones may lie ready.
    "outgoing": WorkerSet(("webhooks", "notices"), threads=4, prefetch=8),
}
