"""Tell somebody of runs that failed, and of daily backups that did not happen.

What a run failed of is in its own words already: failed units, refused plans, what could not be looked at. A daily
backup that never began fails nowhere, so it is told by what the catalog does not have: a look at any dataset of the
project since its time.

A message goes to the webhook of the settings. Where that cannot be reached the tick fails and is tried again: Dagster
shows it, and a message is rather sent twice than not at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import dagster as dg
import requests

from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.defs.schedule import Cursor, Daily
from bbq_dagster.errors import Refused, Transient
from bbq_dagster.settings import Settings, Source

Notify = Callable[["Notice"], None]

MISSED_RUNS = "notify_missed_runs"
FAILED_RUNS = "notify_failed_runs"
SECONDS_BETWEEN_TICKS = 600

_REQUEST_SECONDS = 20
_LONGEST = 3000
"""Characters of a message: chats cut longer ones, some refuse them."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One message. ``kind`` and ``subject`` are for programs: ``run failed`` and the id of the run, for example."""

    kind: str
    subject: str
    text: str

    def as_json(self) -> dict[str, str]:
        """``text`` is what Slack, Mattermost and Google Chat show."""
        return {"text": self.text[:_LONGEST], "kind": self.kind, "subject": self.subject}


def post_to(webhook: str) -> Notify:
    """Sends a notice to ``webhook``. Raises ``Transient`` where nobody took it."""

    def notify(notice: Notice) -> None:
        try:
            answer = requests.post(webhook, json=notice.as_json(), timeout=_REQUEST_SECONDS)
            answer.raise_for_status()
        except requests.RequestException as error:
            # Neither the URL, which is a secret, nor what repeats it.
            raise Transient(f"the webhook of notifications did not take the message: {type(error).__name__}") from None

    return notify


def run_failed(job: str, run_id: str, reasons: Iterable[str]) -> Notice:
    """A run ended as failed, in the words of its steps."""
    return Notice("run failed", run_id, "\n".join([f"bbq: run {run_id} of {job} failed", *reasons]))


def missed(project: str, due_at: datetime, within: timedelta) -> Notice:
    """A daily backup did not happen."""
    hours = within // timedelta(hours=1)
    return Notice(
        "daily backup missed",
        project,
        f"bbq: the daily backup of {project}, due at {due_at:%Y-%m-%d %H:%M} UTC, did not happen within {hours} hours:"
        " none of its datasets was looked at since.\n"
        f"Is the daemon running, and the sensor of the project on? Its last ticks say why it waits.",
    )


def missed_days(
    sources: Iterable[Source], looked_at: Mapping[str, datetime], *, now: datetime, within: timedelta
) -> dict[str, date]:
    """The projects whose last daily backup was due longer ago than ``within``, with no look at them since; its day."""
    found: dict[str, date] = {}
    for source in sources:
        daily = Daily(source.daily_at, source.time_zone)
        day = daily.latest_day(now - within)
        last = looked_at.get(source.project)
        if last is None or last < daily.due_at(day):
            found[source.project] = day
    return found


def build_notification_sensors(settings: Settings, *, notify: Notify | None = None) -> Sequence[dg.SensorDefinition]:
    """The sensors that tell ``notify``, by default the webhook of the settings; none where there is nobody to tell."""
    if notify is None and settings.notifications.webhook is None:
        return ()
    told = notify or post_to(str(settings.notifications.webhook))
    return _failed_runs_sensor(told), _missed_runs_sensor(settings, told)


def _failed_runs_sensor(notify: Notify) -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name=FAILED_RUNS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of every run of this code location that failed, in its own words.",
    )
    def failed_runs(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        notify(run_failed(run.job_name, run.run_id, _reasons(context)))

    return failed_runs


def _reasons(context: dg.RunFailureSensorContext) -> list[str]:
    """Of each step that failed; of the run itself where none did, such as one whose process died."""
    steps = [event.step_failure_data for event in context.get_step_failure_events()]
    of_steps = [data.user_failure_data.description for data in steps if data.user_failure_data is not None]
    of_errors = [data.error.message for data in steps if data.user_failure_data is None and data.error is not None]
    return [str(reason) for reason in (*of_steps, *of_errors) if reason] or [str(context.failure_event.message)]


def _missed_runs_sensor(settings: Settings, notify: Notify) -> dg.SensorDefinition:
    within = settings.notifications.missed_after

    @dg.sensor(
        name=MISSED_RUNS,
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of every source project whose daily backup did not happen in time, once for each day.",
    )
    def missed_runs(context: dg.SensorEvaluationContext, bbq: BbqResource) -> dg.SensorResult:
        cursor = _cursor_of(context)
        late = missed_days(settings.sources, _looked_at(bbq), now=bbq.now(), within=within)
        new = {project: day for project, day in late.items() if cursor.days.get(project) != day}
        for project, day in new.items():
            source = settings.source(project)
            notify(missed(project, Daily(source.daily_at, source.time_zone).due_at(day), within))
            cursor = cursor.after(day, [project])
        words = f"told of {', '.join(new)}" if new else "no daily backup was missed that was not told of"
        return dg.SensorResult(skip_reason=words, cursor=str(cursor))

    return missed_runs


def _looked_at(bbq: BbqResource) -> dict[str, datetime]:
    """When each project was last looked at."""
    found: dict[str, datetime] = {}
    for dataset, at in bbq.stack().last_scans().items():
        found[dataset.project] = max(at, found.get(dataset.project, at))
    return found


def _cursor_of(context: dg.SensorEvaluationContext) -> Cursor:
    """A cursor that cannot be read is an empty one: a message that comes twice does no harm."""
    try:
        return Cursor.parse(context.cursor)
    except Refused as error:
        context.log.warning(str(error))
        return Cursor()
