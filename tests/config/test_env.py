"""Settings: a bad value stops the boot and says which."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings

from config.env import BadSetting, Environment, database_from_url, env_example, markdown_table, read_environment

BASE = Path("/srv/site")


def environment(**values: str) -> Environment:
    return Environment(values)


def test_values_are_read_with_their_type():
    env = environment(A="5", B="Yes", C="x, y,,z ", D="https://a.example/b", E="data", F="two", G="10.1.0.0/16, ::1")
    assert env.integer("A", 1, about="") == 5
    assert env.boolean("B", default=False, about="") is True
    assert env.words("C", "", about="") == ["x", "y", "z"]
    assert env.url("D", "", about="", schemes=["https"]) == "https://a.example/b"
    assert env.path("E", "", about="", base=BASE) == BASE / "data"
    assert [str(network) for network in env.networks("G", "", about="")] == ["10.1.0.0/16", "::1/128"]
    assert env.choice("F", "one", about="", choices=["one", "two"]) == "two"


def test_a_missing_or_empty_value_is_the_default():
    env = environment(A="", B="  ")
    assert env.integer("A", 7, about="") == 7
    assert env.boolean("B", default=True, about="") is True
    assert env.text("C", "word", about="") == "word"
    assert env.secret("D", about="") == ""
    assert env.path("E", "", about="", base=BASE) is None
    assert env.url("F", "", about="", schemes=["redis"]) == ""


@pytest.mark.parametrize(
    "read",
    [
        lambda env: env.integer("BAD", 1, about=""),
        lambda env: env.boolean("BAD", default=True, about=""),
        lambda env: env.choice("BAD", "one", about="", choices=["one"]),
        lambda env: env.url("BAD", "", about="", schemes=["redis"]),
        lambda env: env.networks("BAD", "", about=""),
        lambda env: env.path("BAD", "", about="", base=BASE, must_exist=True),
    ],
)
def test_a_bad_value_is_refused_with_name_and_value(read: Callable[[Environment], object]):
    with pytest.raises(BadSetting, match=r"BAD: expected .*; found 'nonsense'"):
        read(environment(BAD="nonsense"))


@pytest.mark.parametrize("value", ["0", "-1", "101", "1.5", "1e3"])
def test_a_number_has_its_range(value: str):
    with pytest.raises(BadSetting, match="whole number"):
        environment(N=value).integer("N", 5, about="", minimum=1, maximum=100)


def read_database(url: str) -> dict:
    checked = environment(DATABASE_URL=url).url("DATABASE_URL", "", about="", schemes=["postgresql"])
    return database_from_url("DATABASE_URL", checked, BASE)


def test_a_password_is_not_repeated_in_a_message():
    for url in ("mysql://me:secret@db/x", "postgresql://me:secret@db:port/x", "postgresql://me:secret@db/"):
        with pytest.raises(BadSetting) as error:
            read_database(url)
        assert "secret" not in str(error.value)


def test_databases():
    sqlite = database_from_url("DATABASE_URL", "sqlite:///data/db.sqlite3", BASE)
    assert sqlite["NAME"] == BASE / "data/db.sqlite3"
    assert sqlite["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert database_from_url("D", "sqlite:////var/db.sqlite3", BASE)["NAME"] == Path("/var/db.sqlite3")
    postgres = database_from_url("D", "postgresql://me:p%40ss@db.example:5433/site?sslmode=require", BASE)
    assert (postgres["USER"], postgres["PASSWORD"], postgres["HOST"]) == ("me", "p@ss", "db.example")
    assert (postgres["PORT"], postgres["NAME"], postgres["OPTIONS"]) == ("5433", "site", {"sslmode": "require"})
    with pytest.raises(BadSetting):
        database_from_url("D", "sqlite://", BASE)


def test_the_environment_wins_over_the_file(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text("A=file\nB=file\n")
    env = read_environment({"B": "environment"}, file)
    assert (env.text("A", "", about=""), env.text("B", "", about="")) == ("file", "environment")


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path):
    with pytest.raises(BadSetting, match="VERIFRAME_ENV_FILE"):
        read_environment({"VERIFRAME_ENV_FILE": str(tmp_path / "missing")}, tmp_path / ".env")
    assert read_environment({}, tmp_path / "missing").text("A", "default", about="") == "default"
    (tmp_path / ".env").write_text("A=file\n")
    assert read_environment({"VERIFRAME_ENV_FILE": ""}, tmp_path / ".env").text("A", "none", about="") == "none"


def boot(**values: str) -> subprocess.CompletedProcess[str]:
    """`manage.py check` with just these variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VERIFRAME_")}
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=settings.BASE_DIR,
        env={**kept, "VERIFRAME_ENV_FILE": "", **values},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "VERIFRAME_SECRET_KEY: expected 50 or more random characters; it is missing."),
        ({"VERIFRAME_DEBUG": "perhaps"}, "VERIFRAME_DEBUG: expected yes or no; found 'perhaps'."),
        ({"VERIFRAME_DEBUG": "1", "VERIFRAME_FRAMES": "0"}, "VERIFRAME_FRAMES: expected a whole number, 1 to 512"),
        ({"VERIFRAME_DEBUG": "1", "REDIS_URL": "localhost"}, "REDIS_URL: expected a URL like redis://"),
        ({"VERIFRAME_DEBUG": "1", "VERIFRAME_FACE_DETECTOR": "yunet"}, "VERIFRAME_YUNET_MODEL"),
        ({"VERIFRAME_DEBUG": "1", "VERIFRAME_METRICS_PORT": "9464"}, "expected VERIFRAME_METRICS_TOKEN or"),
    ],
)
def test_the_boot_stops_with_a_sentence(values: dict[str, str], words: str):
    done = boot(**values)
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_needs_no_secret():
    assert boot(VERIFRAME_DEBUG="1").returncode == 0


def test_https_is_one_switch():
    program = (
        "from django.conf import settings as s;"
        "print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SECURE_SSL_REDIRECT, s.SECURE_HSTS_SECONDS > 0)"
    )
    for value, expected in [("no", "False False False False"), ("yes", "True True True True")]:
        env = {**os.environ, "VERIFRAME_ENV_FILE": "", "VERIFRAME_DEBUG": "1", "VERIFRAME_HTTPS": value}
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=settings.BASE_DIR, env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected


def test_every_setting_of_the_site_is_documented_once():
    from config.settings import env

    names = [variable.name for variable in env.variables]
    assert len(names) == len(set(names))
    assert all(name.startswith("VERIFRAME_") or name in ("DATABASE_URL", "REDIS_URL", "RABBITMQ_URL") for name in names)
    assert all(variable.meaning.endswith(".") for variable in env.variables)
    table = markdown_table(env.variables)
    assert table.count("\n") == len(names) + 1
    example = env_example(env.variables)
    assert example == (Path(settings.BASE_DIR) / ".env.example").read_text(encoding="utf-8")
