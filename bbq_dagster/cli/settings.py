"""`bbq settings`: check bbq.yaml, ask which level set a value, print the schema for editors."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import click

from bbq_dagster.cli.options import as_json
from bbq_dagster.cli.output import say, show_json, show_table
from bbq_dagster.core.tables import TableRef
from bbq_dagster.settings import json_schema, load_settings


@click.group()
def settings() -> None:
    """Check bbq.yaml and ask what it says."""


@settings.command()
@as_json
@click.pass_obj
def check(config: Path | None, as_json: bool) -> None:
    """Say that bbq.yaml is right, or all that is wrong with it."""
    loaded = load_settings(config, os.environ)
    projects = [source.project for source in loaded.sources]
    if as_json:
        show_json({"path": loaded.path, "backup_project": loaded.backup_project, "sources": projects})
    else:
        say(f"{loaded.path} is right: {', '.join(projects)} into {loaded.backup_project}")


@settings.command()
@click.argument("table")
@as_json
@click.pass_obj
def policy(config: Path | None, table: str, as_json: bool) -> None:
    """Show the policy that holds for TABLE (project.dataset.table), and which level set each value."""
    ref = TableRef.parse(table)
    loaded = load_settings(config, os.environ)
    effective, exclusion = loaded.policy_for(ref), loaded.exclusion(ref)
    values = [(field.name, getattr(effective, field.name)) for field in fields(effective)]
    if as_json:
        policy = {name: {"value": setting.value, "set_by": setting.set_by} for name, setting in values}
        show_json({"table": ref, "left_out": exclusion, "policy": policy})
        return
    show_table(f"Policy of {ref}", ("key", "value", "set by"), [(n, s.value, s.set_by) for n, s in values])
    say(f"left out: it is {exclusion}" if exclusion else "it is backed up")


@settings.command()
def schema() -> None:
    """Print the JSON schema of bbq.yaml for editors."""
    show_json(json_schema())
