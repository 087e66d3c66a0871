"""`bbq metrics`: what is protected and what is not, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bbq_dagster.cli.options import reading_catalog, stack_of
from bbq_dagster.cli.output import waiting_for
from bbq_dagster.core.metrics import Figure
from bbq_dagster.errors import Refused

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


@click.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write, as a whole or not at all, such as /var/lib/node_exporter/bbq.prom. Without it: to the screen.",
)
@click.pass_obj
def metrics(config: Path | None, output: Path | None) -> None:
    """Write the figures that Prometheus reads.

    They are for node_exporter's textfile collector, from one look at the sources and the catalog.
    """
    try:
        from prometheus_client import generate_latest, write_to_textfile
    except ImportError as error:
        raise Refused("prometheus_client is not installed", hint="pip install 'bbq_dagster[metrics]'") from error
    stack = stack_of(config)
    with waiting_for("looking at the sources"), reading_catalog(stack):
        registry = registry_of(stack.figures(now=stack.clock()))
    if output is None:
        click.echo(generate_latest(registry).decode(), nl=False)
    else:
        write_to_textfile(str(output), registry)


def registry_of(figures: Iterable[Figure]) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    for figure in figures:
        gauge = Gauge(figure.name, figure.meaning, figure.labels, registry=registry)
        for labels, value in figure.samples.items():
            (gauge.labels(*labels) if labels else gauge).set(value)
    return registry
