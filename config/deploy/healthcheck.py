"""Asks this container's own web server whether it lives; exit code 1 if it does not. Loads nothing of the project."""

from __future__ import annotations

import http.client
import os
import sys

PORT = 8000
SECONDS = 4


def name_of_the_site() -> str:
    """A host name that the server answers to; where only patterns are set, any name that fits them is hard to tell."""
    names = [name.strip() for name in os.environ.get("VERIFRAME_ALLOWED_HOSTS", "").split(",")]
    return next((name for name in names if name and name[0] not in "*."), "localhost")


def lives() -> bool:
    """Whether it answers; that https is asked for (301) is an answer, too."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=SECONDS)
    try:
        connection.request("GET", "/health/", headers={"Host": name_of_the_site(), "X-Forwarded-Proto": "https"})
        return connection.getresponse().status in (200, 301)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if lives() else 1)
