"""The decisions, as pure functions of values: no clock, no I/O, no Dagster, no Google client."""
