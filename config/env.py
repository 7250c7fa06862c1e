"""Settings come from the environment, through typed readers: a bad value stops the boot and says which.

Each reader also writes down what it read (name, type, default, about), so that the table in the README and
``.env.example`` can be held to the code by a test. django-environ was weighed: its errors do not name the
variable (``invalid literal for int()``), it knows no ranges, and it keeps no record, which is the half of this
file that matters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from dotenv import dotenv_values

Word = TypeVar("Word", bound=str)

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}


class BadSetting(Exception):  # noqa: N818  (reads as a sentence where it is raised)
    """A variable is missing or cannot be understood.

    Deliberately no ImproperlyConfigured: Django's command line swallows that one for some commands.
    """

    def __init__(self, name: str, value: str | None, expected: str) -> None:
        found = "it is missing" if value is None else f"found {value!r}"
        super().__init__(f"{name}: {expected}; {found}.")


@dataclass(frozen=True, slots=True)
class Variable:
    """What is known about one variable. ``default`` is written as one would write it in ``.env``."""

    name: str
    kind: str
    default: str
    meaning: str


class Environment:
    """Reads variables and remembers what was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.variables: list[Variable] = []

    def _raw(self, name: str, kind: str, default: str, about: str) -> str:
        self.variables.append(Variable(name, kind, default, about))
        value = self._values.get(name, "").strip()
        return value or default  # NAME= in a .env file means "not set", as in a shell's ${NAME:-default}

    def text(self, name: str, default: str, about: str) -> str:
        return self._raw(name, "text", default, about)

    def secret(self, name: str, about: str) -> str:
        """Text without a default; empty when it is not set. Its value is never printed."""
        return self._raw(name, "secret", "", about)

    def secrets(self, name: str, about: str) -> list[str]:
        """Several of them, separated by commas. Their values are never printed."""
        return [word.strip() for word in self.secret(name, about).split(",") if word.strip()]

    def boolean(self, name: str, *, default: bool, about: str) -> bool:
        raw = self._raw(name, "yes or no", "yes" if default else "no", about)
        if raw.lower() in TRUE | FALSE:
            return raw.lower() in TRUE
        raise BadSetting(name, raw, "expected yes or no")

    def integer(self, name: str, default: int, about: str, *, minimum: int = 0, maximum: int | None = None) -> int:
        raw = self._raw(name, "whole number", str(default), about)
        try:
            value = int(raw)
        except ValueError:
            raise BadSetting(name, raw, "expected a whole number") from None
        if value < minimum or (maximum is not None and value > maximum):
            limits = f"at least {minimum}" if maximum is None else f"{minimum} to {maximum}"
            raise BadSetting(name, raw, f"expected a whole number, {limits}")
        return value

    def rate(self, name: str, default: str, about: str) -> str | None:
        """How often something may be done, like 5/m (s, m, h or d); None for "none", no limit."""
        raw = self._raw(name, "rate", default, about)
        if raw.lower() == "none":
            return None
        if not re.fullmatch(r"[1-9]\d{0,8}/[smhd]", raw):
            raise BadSetting(name, raw, "expected a rate like 5/m (s, m, h or d), or none")
        return raw

    def choice(self, name: str, default: Word, about: str, *, choices: Sequence[Word]) -> Word:
        raw = self._raw(name, " or ".join(choices), default, about)
        for word in choices:
            if word == raw:
                return word
        raise BadSetting(name, raw, f"expected one of {', '.join(choices)}")

    def words(self, name: str, default: str, about: str) -> list[str]:
        """A comma-separated list."""
        return [word.strip() for word in self._raw(name, "list", default, about).split(",") if word.strip()]

    def networks(self, name: str, default: str, about: str) -> list[IPv4Network | IPv6Network]:
        """A comma-separated list of networks or single addresses."""
        raw = self._raw(name, "list", default, about)
        try:
            return [ip_network(word.strip()) for word in raw.split(",") if word.strip()]
        except ValueError:
            raise BadSetting(name, raw, "expected networks like 10.1.0.0/16") from None

    def path(self, name: str, default: str, about: str, *, base: Path, must_exist: bool = False) -> Path | None:
        """A path; a relative one counts from ``base``. None when there is neither value nor default."""
        raw = self._raw(name, "path", default, about)
        if not raw:
            return None
        path = (base / Path(raw).expanduser()).resolve()
        if must_exist and not path.exists():
            raise BadSetting(name, raw, "expected a path that exists")
        return path

    def url(self, name: str, default: str, about: str, *, schemes: Sequence[str]) -> str:
        """A URL with one of ``schemes``; empty when there is neither value nor default."""
        raw = self._raw(name, "URL", default, about)
        if raw and (urlsplit(raw).scheme not in schemes or not raw.partition("://")[2]):
            raise BadSetting(name, _without_password(raw), f"expected a URL like {schemes[0]}://...")
        return raw


def read_environment(environ: Mapping[str, str], default_file: Path) -> Environment:
    """The process's variables over those of a ``.env`` file (``VERIFRAME_ENV_FILE``; empty for none)."""
    name = environ.get("VERIFRAME_ENV_FILE")
    file = default_file if name is None else Path(name)
    if name and not file.is_file():
        raise BadSetting("VERIFRAME_ENV_FILE", name, "expected a file that exists")
    stored = dotenv_values(file) if name != "" and file.is_file() else {}
    environment = Environment({**{k: v or "" for k, v in stored.items()}, **environ})
    environment.variables.append(
        Variable(
            "VERIFRAME_ENV_FILE",
            "path",
            ".env",
            "File that the variables below may stand in; empty for none.",
        )
    )
    return environment


def database_from_url(name: str, url: str, base: Path) -> dict[str, Any]:
    """Django's ``DATABASES`` entry for ``sqlite:///file`` or ``postgresql://user:password@host:port/name``."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        file = unquote(parts.path.removeprefix("/"))
        if not file:
            raise BadSetting(name, url, "expected sqlite:///FILE (four slashes for an absolute path)")
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": base / file,
            "OPTIONS": {
                # Write locks are taken at BEGIN: two writers queue up (for `timeout` seconds) instead of failing
                # half-way with "database is locked", which the busy timeout cannot cure in deferred mode.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                # WAL: pages read while the worker writes progress.
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    return _postgresql(name, url, parts)


def _postgresql(name: str, url: str, parts: SplitResult) -> dict[str, Any]:
    database = unquote(parts.path.removeprefix("/"))
    try:
        port = parts.port
    except ValueError:
        raise BadSetting(name, _without_password(url), "expected a port number") from None
    if not database:
        raise BadSetting(name, _without_password(url), "expected postgresql://USER:PASSWORD@HOST:PORT/NAME")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": database,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(port or ""),
        "OPTIONS": dict(parse_qsl(parts.query)),
        "CONN_HEALTH_CHECKS": True,
    }


def _without_password(url: str) -> str:
    """For messages: a log is no place for a password."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]).geturl()


def markdown_table(variables: Sequence[Variable]) -> str:
    """The settings as the table that stands in the README."""
    rows = [f"| `{v.name}` | {v.kind} | {f'`{v.default}`' if v.default else '–'} | {v.meaning} |" for v in variables]
    return "\n".join(["| Variable | Type | Default | Meaning |", "|---|---|---|---|", *rows])


def env_example(variables: Sequence[Variable]) -> str:
    """The content of ``.env.example``: every variable with its default, commented out."""
    lines = [
        "# Settings of Veriframe. Copy to .env and take away the # where you want another value; a variable of",
        "# the environment wins over this file. Made by `manage.py settings_table --env-example`.",
    ]
    for variable in variables:
        if variable.name == "VERIFRAME_ENV_FILE":
            continue  # decides which file this is, so it cannot stand in it
        mark = "" if variable.kind == "secret" and not variable.default else "# "
        lines += ["", f"# {variable.meaning} ({variable.kind})", f"{mark}{variable.name}={variable.default}"]
    return "\n".join(lines) + "\n"
