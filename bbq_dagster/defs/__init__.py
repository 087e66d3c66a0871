"""Dagster's side: it starts backups, shows them and remembers their events; what to copy is decided in ``core``.

names.py        asset keys, partitions and everything else that Dagster wants a name for
schedule.py     when the daily backup of a project is due (no Dagster)
requests.py     which runs a plan asks for, and under which run keys (no Dagster)
discovery.py    the datasets that are known, in files, so that loading calls nothing (no Dagster)
metadata.py     what a version shows in the UI
events.py       asset events, written in batches; the one module on Dagster's internals
in_progress.py  what queued and running runs already have in hand
resources.py    settings, warehouse, catalog and clock for assets, jobs and sensors
backups.py      one run: plan, apply, report
assets.py       an asset per source dataset
jobs.py         backup_now
restores.py     restore
retention.py    retention, and its schedule
catalog.py      catalog_check and catalog_snapshot, and their schedules
health.py       asset checks of every dataset, their job and schedule
notifications.py tell of failed runs and missed backups
sensors.py      the daily backup of a source project
"""
