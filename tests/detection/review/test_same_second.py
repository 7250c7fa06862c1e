"""Two reviewers in the same second, on PostgreSQL and on SQLite: one decides, the other one is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services
from tests.conftest import lacking
from tests.e2e.server import ROOT, Server

RACE = """
import django
django.setup()
import threading
from django.db import connection, connections
from accounts import roles
from accounts.models import User
from detection.models import Analysis, AuditEntry, Review, ReviewCase, Upload
from detection.problems import Refused
from detection.review import services as review
import detection.services as uploads

owner = User.objects.create_user("owner@race.example")
people = []
for name in ("one", "two"):
    user = User.objects.create_user(f"{name}@race.example")
    roles.set_role(user, roles.Role.REVIEWER)
    people.append(User.objects.get(pk=user.pk))

def results(number, user=owner):
    upload = dict(user=user, name="x.jpg", kind="image", mime="image/jpeg", size=1, sha256="0", file="x")
    done = dict(status="succeeded", verdict="manipulated", score=0.9)
    return [Analysis.objects.create(upload=Upload.objects.create(**upload), **done) for _ in range(number)]

def both(rows, first, second):
    start, said = threading.Barrier(2), []
    def go(act):
        for row in rows:
            start.wait()
            try:
                act(row)
                said.append("stored")
            except Refused as refused:
                said.append(refused.code)
        connections.close_all()
    threads = [threading.Thread(target=go, args=(act,)) for act in (first, second)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return said

def says(person, verdict):
    return lambda row: review.give_opinion(analysis=row, reviewer=person, verdict=verdict)

N = 20
rows = results(N)
said = both(rows, says(people[0], "authentic"), says(people[1], "manipulated"))
assert sorted(said) == ["conflict"] * N + ["stored"] * N, said
assert Review.objects.count() == ReviewCase.objects.count() == N
assert AuditEntry.objects.filter(action="decide").count() == N
for row in Analysis.objects.filter(pk__in=[row.pk for row in rows]):
    assert row.reviewed_verdict == Review.objects.get(case__analysis=row).verdict

# The same reviewer twice, in two windows.
rows = results(N)
said = both(rows, says(people[0], "authentic"), says(people[0], "manipulated"))
assert sorted(said) == ["conflict"] * N + ["stored"] * N, said

# Both are asked for: both count, and the case is decided once.
rows = results(N)
for row in rows:
    review.dispute(analysis=row, category="genuine")
said = both(rows, says(people[0], "authentic"), says(people[1], "authentic"))
assert said == ["stored"] * 2 * N, said
for row in rows:
    assert AuditEntry.objects.filter(action="decide", object_id=str(row.pk)).count() == 1

# One judges what is being deleted, account and all: either comes first, and neither waits for the other for ever.
from detection.models import WebhookEndpoint
from detection.privacy import erasure
for number in range(N):
    going = User.objects.create_user(f"going{number}@race.example")
    WebhookEndpoint.objects.create(user=going, url="https://example.org/hook", events=["analysis.reviewed"])
    (row,) = results(1, going)
    said = both([row], says(people[0], "authentic"), lambda _row: erasure.erase(user=going))
    assert len(said) == 2, said
    assert not Analysis.objects.filter(pk=row.pk).exists()

# One judges what another has run anew: no verdict on a run that was not seen.
rows = results(N)
said = both(rows, says(people[0], "authentic"), lambda row: uploads.retry(analysis=row, by=people[1]))
for row in Analysis.objects.filter(pk__in=[row.pk for row in rows]):
    assert (row.status, row.reviewed_verdict) == ("queued", "")

# What reviewers read is read the same way on every database.
from django.db import DatabaseError, transaction
from detection.review import queue, statistics
assert len(queue.queue().order_by(*queue.ORDER)) == 3 * N
assert statistics.waiting()["oldest_hours"] is None
assert queue.next_for(people[0]) is None
before_the_new_run = said.count("stored") - N
assert statistics.volumes()[0].decided == statistics.agreement()[0].cases == 3 * N + before_the_new_run
assert statistics.work()["queued"] == N
statements = ["UPDATE detection_auditentry SET role = 'x'", "DELETE FROM detection_auditentry"]
if connection.vendor == "postgresql":
    statements.append("TRUNCATE detection_auditentry")
for statement in statements:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    except DatabaseError as error:
        assert "append-only" in str(error)
    else:
        raise AssertionError(statement)
print("one after the other on", connection.vendor)
"""


def race(server: Server) -> str:
    done = subprocess.run(
        [sys.executable, "-c", RACE],
        cwd=ROOT,
        env={**os.environ, **server.environment, "REDIS_URL": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    return done.stderr[-3000:] if done.returncode else done.stdout.strip()


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if services.postgresql_programs() is None:
        lacking("needs PostgreSQL (Debian: apt install postgresql)")
    with services.postgresql_server(tmp_path_factory.mktemp("postgresql")) as url:
        yield url


@pytest.mark.services
def test_on_postgresql(postgresql: str, tmp_path: Path):
    assert race(Server(tmp_path, DATABASE_URL=postgresql, VERIFRAME_ENV_FILE="")).endswith("on postgresql")


def test_on_sqlite(tmp_path: Path):
    assert race(Server(tmp_path, VERIFRAME_ENV_FILE="")).endswith("on sqlite")
