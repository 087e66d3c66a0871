"""What a team would compute from the flights: the departure board, gate events, reports, fleet lists.

Pure functions of Arrow tables; the same input gives the same rows.
"""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

BOARDING = timedelta(minutes=25)
CHARTER = 9000
"""Charters fly under the number of the flight that they follow, and this."""
EVENTS_PER_DAY = 200


def departure_board(flights: pa.Table) -> pa.Table:
    """What the passengers saw, one row a flight."""
    late = pc.greater_equal(pc.fill_null(flights["departure_delay"], 0), 15)
    status = pc.if_else(pc.is_null(flights["departed_at"]), "CANCELLED", pc.if_else(late, "DELAYED", "ON TIME"))
    return flights.select(["scheduled_at", "carrier", "flight", "origin", "dest"]).append_column("status", status)


def gate_events(flights: pa.Table, day: date) -> pa.Table:
    """The first messages from the gates, as if these flights of one day left on ``day`` (UTC)."""
    left = flights.filter(pc.is_valid(flights["departed_at"])).slice(0, EVENTS_PER_DAY)
    moved = pa.scalar(day - left["flight_date"][0].as_py()) if left.num_rows else pa.scalar(timedelta())
    sent_at = pc.add(pc.subtract(left["departed_at"], pa.scalar(BOARDING)), moved)
    gate = pc.binary_join_element_wise(left["origin"], _text(pc.add(_remainder(left["flight"], 40), 1)), "-")
    return pa.table(
        {
            "sent_at": sent_at.cast(pa.timestamp("us", tz="UTC")),
            "gate": gate,
            "event": pa.array(["BOARDING"] * left.num_rows, pa.string()),
            "message": pc.binary_join_element_wise(left["carrier"], _text(left["flight"]), left["dest"], " "),
        }
    )


def charters(flights: pa.Table) -> pa.Table:
    """Charter flights beside these flights."""
    numbers = pc.add(flights["flight"], CHARTER)
    return flights.set_column(flights.column_names.index("flight"), "flight", numbers)


def carrier_report(flights: pa.Table) -> pa.Table:
    """Flights, cancellations and the mean delay at departure (minutes) of each carrier."""
    sums = flights.group_by("carrier").aggregate(
        [("flight", "count"), ("departed_at", "count"), ("departure_delay", "mean")]
    )
    report = pa.table(
        {
            "carrier": sums["carrier"],
            "flights": sums["flight_count"],
            "cancelled": pc.subtract(sums["flight_count"], sums["departed_at_count"]),
            "mean_departure_delay": sums["departure_delay_mean"],
        }
    )
    return report.sort_by("carrier")


def aircraft_types(planes: pa.Table) -> pa.Table:
    """How many planes there are of each model, and their seats."""
    sums = planes.group_by(["manufacturer", "model"]).aggregate([("seats", "max"), ("tailnum", "count")])
    types = sums.select(["manufacturer", "model", "seats_max", "tailnum_count"])
    return types.rename_columns(["manufacturer", "model", "seats", "planes"]).sort_by(
        [("manufacturer", "ascending"), ("model", "ascending")]
    )


def stations(airports: pa.Table) -> pa.Table:
    """The three airports whose weather is measured."""
    chosen = airports.filter(pc.is_in(airports["faa"], pa.array(["EWR", "JFK", "LGA"])))
    return chosen.select(["faa", "name", "lat", "lon", "alt"]).rename_columns(
        ["airport", "name", "latitude", "longitude", "altitude"]
    )


def on_time_by_hour(flights: pa.Table) -> pa.Table:
    """The mean delay at departure by the hour of the day (UTC)."""
    hours = flights.select(["departure_delay"]).append_column("hour", pc.hour(flights["scheduled_at"]))
    sums = hours.group_by("hour").aggregate([("departure_delay", "mean")])
    return (
        sums.select(["hour", "departure_delay_mean"]).rename_columns(["hour", "mean_departure_delay"]).sort_by("hour")
    )


def _remainder(numbers: pa.ChunkedArray, by: int) -> pa.ChunkedArray:
    return pc.subtract(numbers, pc.multiply(pc.divide(numbers, by), by))


def _text(numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(numbers, pa.string())
