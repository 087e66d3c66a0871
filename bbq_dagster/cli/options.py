"""What several commands take, and the stack that they work on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from bbq_dagster.errors import Permanent

if TYPE_CHECKING:
    from bbq_dagster.stack import Stack

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
projects_option = click.option("--project", "projects", multiple=True, help="Only this source project; repeatable.")
datasets_option = click.option("--dataset", "datasets", multiple=True, help="Only this project.dataset; repeatable.")

_KNOCK_SECONDS = 5.0


def stack_of(config: Path | None) -> Stack:
    """The stack that the settings at ``config`` name.

    Raises ``SettingsInvalid``; ``Permanent`` where an ``http`` endpoint of the settings is served by nobody.
    """
    from bbq_dagster.settings import load_settings
    from bbq_dagster.stack import open_stack

    settings = load_settings(config, os.environ)
    if settings.endpoint is not None:
        _knock_at(settings.endpoint)
    return open_stack(settings)


@contextmanager
def reading_catalog(stack: Stack) -> Iterator[None]:
    """While the catalog is read: that there is none is told from anything else that is not found."""
    try:
        yield
    except Permanent as error:
        if error.reason != "notFound" or stack.catalog.is_there():
            raise
        settings = stack.settings
        raise Permanent(
            f"there is no catalog {settings.backup_project}.{settings.catalog.dataset} in {settings.catalog.location}",
            hint="the first `bbq backup` makes it. If you have backups, make none: it is gone (`bbq catalog check`),"
            f" or `backup_project` or `catalog` in {settings.path} does not say where it is",
            reason=error.reason,
        ) from error


def _knock_at(endpoint: str) -> None:
    """BigQuery itself is waited for with patience; an embedded one either runs or has to be started by somebody."""
    place = urlsplit(endpoint)
    if place.scheme != "http":
        return
    try:
        socket.create_connection((place.hostname or "", place.port or 80), timeout=_KNOCK_SECONDS).close()
    except OSError as error:
        raise Permanent(
            f"nothing answers at {endpoint}, the endpoint of the settings: {error.strerror or error}",
            hint=f"start it by: bbq local serve --port {place.port or 80}",
        ) from error
