"""The settings: ``bbq.yaml`` and the environment, read once, checked, and turned into frozen values.

values.py     what the rest of the project works with
schema.py     the keys of bbq.yaml, their types, limits and descriptions (pydantic)
document.py   YAML to plain values, with the line of every key
rules.py      what must hold between keys
problems.py   what is wrong, in words
load.py       all of it in one call
"""

from bbq_dagster.settings.load import load_settings
from bbq_dagster.settings.schema import json_schema
from bbq_dagster.settings.values import CatalogSettings, Limits, Settings, Source, Verify

__all__ = ["CatalogSettings", "Limits", "Settings", "Source", "Verify", "json_schema", "load_settings"]
