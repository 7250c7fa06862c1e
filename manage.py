#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from django.core.management import execute_from_command_line

from config.env import BadSetting


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        if sys.argv[1:2] == ["worker"]:  # Django would first set up what this command does not need, for a second
            from detection.management.commands import worker  # noqa: PLC0415  (Unix alone has all that it imports)

            worker.Command().run_from_argv(sys.argv)
        else:
            execute_from_command_line(sys.argv)
    except BadSetting as error:
        # A wrong setting is the operator's to correct: a sentence helps more than a traceback.
        sys.exit(f"manage.py: {error}")


if __name__ == "__main__":
    main()
