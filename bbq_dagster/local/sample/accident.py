"""The accident that time travel cannot help with: a table is deleted, and an empty one takes its name."""

from google.cloud import bigquery

from bbq_dagster.core.tables import TableRef
from bbq_dagster.local.sample.tables import FLIGHTS


def flights_in_words(client: bigquery.Client) -> str:
    """What the table of flights holds now, so that two states of it can be told apart."""
    (found,) = client.query(
        f"SELECT COUNT(*) AS flights, SUM(distance) AS miles, MAX(scheduled_at) AS last FROM `{FLIGHTS}`"
    ).result()
    return f"{found.flights:,} flights over {found.miles or 0:,} miles, the last one of {found.last or 'no day'}"


def lose_flights(client: bigquery.Client) -> TableRef:
    """Delete the table of flights and create it anew, with the definition it had."""
    definition = client.get_table(str(FLIGHTS))
    client.delete_table(definition)
    client.create_table(definition)
    return FLIGHTS
