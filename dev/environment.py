"""Environments of local processes: what of the shell's reaches them, and what must not."""

import os
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
REGION = "us-east-1"
# What boto3 needs to be given here, moto checks none of it; and no file of the user's that names another account.
CLIENT_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
# Meant for other servers, another account or another interpreter: libpq reads PGOPTIONS and PGSERVICE, boto3 AWS_PROFILE,
# Werkzeug (below moto) a file descriptor, uvicorn a number of workers, every Python PYTHONHOME and PYTHONWARNINGS.
FOREIGN = (
    *("AWS_", "BOTO_", "MOTO_", "FLASK_", "WERKZEUG_", "UVICORN_", "PG", "PYTHON"),
    *("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"),
)


def inherited() -> dict[str, str]:
    """The shell's environment without what is meant for others."""
    return {name: value for name, value in os.environ.items() if not _foreign(name)}


def drop_foreign() -> None:
    """Take the same out of this process's own environment, before a client of ours reads it by itself."""
    for name in filter(_foreign, list(os.environ)):
        del os.environ[name]


def _foreign(name: str) -> bool:
    return name.startswith(FOREIGN) and name != "PYTHONPATH"  # which is how our own modules are found


def environment(settings: Mapping[str, str]) -> Mapping[str, str]:
    """Ours, for a child: with its settings, our modules, unbuffered output, and no proxy for the loopback interface.

    Nothing of AWS but what moto needs: no local process may find a way to somebody's real account.
    """
    return {
        **inherited(),
        **CLIENT_ENVIRONMENT,
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'layers' / 'shared'}",
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        **settings,
    }
