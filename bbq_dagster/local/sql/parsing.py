"""From text to statements, and from a place in the text to BigQuery's ``at [line:column]``."""

import logging
import re

import sqlglot
from sqlglot import exp
from sqlglot.dialects.bigquery import BigQuery
from sqlglot.errors import ParseError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from bbq_dagster.local.errors import BigQueryError, invalid_query

# Statements that it keeps as mere text are its warning; they are understood by ``ddl``, or refused.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


# What sqlglot does not know as a statement.
_UNDROP = re.compile(r"UNDROP\s+SCHEMA\b", re.IGNORECASE)


def parse_statement(text: str, line: int, column: int) -> exp.Expr:
    """One statement, which begins there in its script; refused with ``Syntax error: ... at [line:column]``."""
    if _UNDROP.match(text):
        return exp.Command(this="UNDROP", expression=exp.Literal.string(text[len("UNDROP") :].strip()))
    placed = "\n" * (line - 1) + " " * (column - 1) + text
    try:
        parsed = sqlglot.parse(placed, read="bigquery")
    except ParseError as error:
        raise _syntax_error(placed, error) from error
    statement = next((s for s in parsed if s is not None), None)
    if statement is None:
        raise invalid_query("Syntax error: Unexpected end of statement at [1:1]")
    _refuse_mere_expression(statement, placed)
    return statement


def parse_query(sql: str) -> exp.Query:
    """The one query of a view's definition."""
    statement = parse_statement(sql.rstrip("; \n"), 1, 1)
    if not isinstance(statement, exp.Query):
        raise invalid_query("A view must be defined by one query")
    return statement


def parse_expression(text: str) -> exp.Expr:
    """An expression on its own, as a column's default."""
    try:
        return sqlglot.parse_one(text, read="bigquery")
    except (ParseError, TokenError) as error:
        raise invalid_query(f"Syntax error: {text} is not an expression") from error


def unclosed_string(sql: str) -> BigQueryError:
    """The refusal of a script that ends within a literal."""
    return invalid_query(f"Syntax error: Unclosed string literal at {_position(sql, _last_quote(sql))}")


def with_position(error: BigQueryError, sql: str) -> BigQueryError:
    """The same refusal with the place of the name that it is about, where the text has it."""
    about = re.match(r"(?:Unrecognized name|Function not found|Column name|Name|Field name):? ([\w.]+)", error.message)
    if about is None or error.message.endswith("]"):
        return error
    name = about[1].split(".")[-1]
    found = _token_of(sql, name)
    if found is None:
        return error
    where = f"[{found.line}:{max(1, found.col - (found.end - found.start))}]"
    return invalid_query(f"{error.message.replace(name, found.text)} at {where}")


def _refuse_mere_expression(statement: exp.Expr, sql: str) -> None:
    """sqlglot takes ``invalid AS syntax`` for an expression; BigQuery knows statements only."""
    if isinstance(statement, (exp.Alias, exp.Column, exp.Condition)) and not isinstance(statement, exp.Query):
        word = next(iter(BigQuery().tokenize(sql)))
        where = f"[{word.line}:{max(1, word.col - (word.end - word.start))}]"
        raise invalid_query(f"Syntax error: Unexpected {_kind_of(word.text)} at {where}")


def _syntax_error(sql: str, error: ParseError) -> BigQueryError:
    detail = error.errors[0] if error.errors else {}
    word, line, end = detail.get("highlight") or "", detail.get("line") or 1, detail.get("col") or 1
    column = max(1, end - len(word) + 1)
    at_end = not (detail.get("end_context") or "").strip() and "Unexpected token" not in str(detail.get("description"))
    first = re.match(r"\s*([A-Za-z_]\w*)", sql)
    if first and BigQuery().tokenize(first[1])[0].token_type == TokenType.VAR:
        return invalid_query(f'Syntax error: Unexpected identifier "{first[1]}" at {_position(sql, first.start(1))}')
    if at_end or not word:
        return invalid_query(f"Syntax error: Unexpected end of script at {_position(sql, len(sql.rstrip()))}")
    kind = "keyword " + word.upper() if word.upper() in BigQuery.Tokenizer.KEYWORDS else _kind_of(word)
    return invalid_query(f"Syntax error: Unexpected {kind} at [{line}:{column}]")


def _kind_of(word: str) -> str:
    if re.fullmatch(r"[A-Za-z_]\w*", word):
        return f'identifier "{word}"'
    if re.fullmatch(r"\d+", word):
        return f'integer literal "{word}"'
    return f'"{word}"'


def _token_of(sql: str, name: str) -> Token | None:
    return next((token for token in BigQuery().tokenize(sql) if token.text.lower() == name.lower()), None)


def _position(sql: str, at: int) -> str:
    before = sql[:at]
    return f"[{before.count(chr(10)) + 1}:{at - (before.rfind(chr(10)) + 1) + 1}]"


def _last_quote(sql: str) -> int:
    return max(sql.rfind(quote) for quote in "'\"`")
