"""What comes over the line besides whole answers to whole requests."""

import socket
from urllib.parse import urlsplit

import pytest

from bbq_dagster.local.server import LocalBigQuery

BODY = b'{"datasetReference": {"datasetId": "sales"}}'
HEAD = b"POST /bigquery/v2/projects/shop/datasets HTTP/1.1\r\nhost: local\r\ncontent-length: %d\r\n" % len(BODY)


def said(bigquery: LocalBigQuery, *sent: bytes) -> list[bytes]:
    """What the server says after each of these."""
    host = urlsplit(bigquery.url)
    with socket.create_connection((str(host.hostname), int(host.port or 0)), timeout=10) as line:
        answers = []
        for content in sent:
            line.sendall(content)
            answers.append(line.recv(65_536))
        return answers


def test_head_and_body_of_an_answer_come_together(bigquery: LocalBigQuery) -> None:
    (answer,) = said(bigquery, HEAD + b"\r\n" + BODY)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"}")


def test_a_client_that_asks_first_is_told_to_go_on(bigquery: LocalBigQuery) -> None:
    go_on, answer = said(bigquery, HEAD + b"expect: 100-continue\r\n\r\n", BODY)

    assert go_on == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("content", [b"what is this\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01"])
def test_what_is_no_http_is_told_so(bigquery: LocalBigQuery, content: bytes) -> None:
    (answer,) = said(bigquery, content)

    assert answer.startswith(b"HTTP/1.1 400 ")


def test_an_answer_without_a_body_comes_at_once(bigquery: LocalBigQuery) -> None:
    (answer,) = said(bigquery, b"DELETE /local/v1/faults HTTP/1.1\r\nhost: local\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 204 ")
