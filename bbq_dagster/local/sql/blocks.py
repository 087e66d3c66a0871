"""The shape of a script: its statements, and the blocks, branches and loops around them.

https://cloud.google.com/bigquery/docs/reference/standard-sql/procedural-language. It knows where each statement begins
and ends; what a statement says is ``parsing``'s to find out, and what a block does, ``script``'s.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeAlias

from sqlglot import exp
from sqlglot.dialects.bigquery import BigQuery
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from bbq_dagster.local.errors import BigQueryError, invalid_query
from bbq_dagster.local.sql.parsing import parse_expression, parse_statement, unclosed_string

Node: TypeAlias = "Statement | Branches | Loop | ForEach | Guarded | Leave | Raise | Execute | Assertion"
Block: TypeAlias = "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that is no block, as text and as parsed."""

    text: str
    expression: exp.Expr


@dataclass(frozen=True, slots=True)
class Branches:
    """IF and CASE: the first block whose condition holds, else ``otherwise``."""

    branches: tuple[tuple[exp.Expr, Block], ...]
    otherwise: Block


@dataclass(frozen=True, slots=True)
class Loop:
    """LOOP, WHILE (goes on while ``condition`` holds) and REPEAT (ends as soon as ``until`` holds)."""

    body: Block
    condition: exp.Expr | None = None
    until: exp.Expr | None = None


@dataclass(frozen=True, slots=True)
class ForEach:
    """FOR ... IN: the body once for every row of the query, which the variable holds as a struct."""

    variable: str
    query: exp.Expr
    body: Block


@dataclass(frozen=True, slots=True)
class Guarded:
    """BEGIN ... EXCEPTION WHEN ERROR THEN ... END; variables that the body declares end with it."""

    body: Block
    handler: "Block | None"


@dataclass(frozen=True, slots=True)
class Leave:
    """BREAK, CONTINUE or RETURN."""

    word: str


@dataclass(frozen=True, slots=True)
class Raise:
    """RAISE, with a message or with the error that is being handled."""

    message: exp.Expr | None


@dataclass(frozen=True, slots=True)
class Execute:
    """EXECUTE IMMEDIATE: SQL that an expression gives, the variables for its one row, its parameters with names."""

    sql: exp.Expr
    into: tuple[str, ...]
    using: tuple[tuple[str, exp.Expr], ...]


@dataclass(frozen=True, slots=True)
class Assertion:
    """ASSERT: an error with this description unless the expression is TRUE."""

    condition: exp.Expr
    description: str


def parse_script(sql: str) -> Block:
    """The blocks of a script; refused with ``Syntax error: ... at [line:column]``."""
    reader = _Reader(sql)
    block = reader.block(())
    if not reader.at_end:
        raise reader.unexpected()
    if not block:
        raise invalid_query("Syntax error: Unexpected end of statement at [1:1]")
    return block


def expressions_in(block: Block) -> Iterator[exp.Expr]:
    """Every statement, condition and expression of a script, in the order of the text."""
    return _expressions(block)


def _expressions(part: Any) -> Iterator[exp.Expr]:
    if isinstance(part, exp.Expr):
        yield part
    elif isinstance(part, tuple):
        for item in part:
            yield from _expressions(item)
    elif is_dataclass(part):
        for field in fields(part):
            yield from _expressions(getattr(part, field.name))


class _Words(BigQuery):
    """Every word a token of its own, where the dialect's own tokens swallow what follows CALL or EXECUTE."""

    class Tokenizer(BigQuery.Tokenizer):
        COMMANDS = set()  # noqa: RUF012


_OPEN, _CLOSE = (TokenType.L_PAREN, TokenType.L_BRACKET), (TokenType.R_PAREN, TokenType.R_BRACKET)
_QUOTED = (TokenType.STRING, TokenType.IDENTIFIER, TokenType.RAW_STRING, TokenType.BYTE_STRING)
_LEAVING: Mapping[str, str] = {
    "BREAK": "BREAK",
    "LEAVE": "BREAK",
    "CONTINUE": "CONTINUE",
    "ITERATE": "CONTINUE",
    "RETURN": "RETURN",
}


class _Reader:
    """Reads blocks from the tokens of a script."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        try:
            self._tokens: list[Token] = list(_Words().tokenize(sql))
        except TokenError as error:
            raise unclosed_string(sql) from error
        self._next = 0

    @property
    def at_end(self) -> bool:
        return self._next >= len(self._tokens)

    def unexpected(self) -> BigQueryError:
        if self.at_end:
            return invalid_query("Syntax error: Unexpected end of script")
        token = self._tokens[self._next]
        where = f"[{token.line}:{max(1, token.col - (token.end - token.start))}]"
        return invalid_query(f"Syntax error: Unexpected keyword {token.text.upper()} at {where}")

    def block(self, ends: tuple[str, ...]) -> Block:
        """Statements up to one of these words, which stays to be read."""
        nodes: list[Node] = []
        while not self.at_end and self._word() not in ends:
            if not self._skip(";"):
                nodes.append(self._node())
                if not self.at_end:
                    self._expect(";")
        return tuple(nodes)

    # -- one construct each

    def _node(self) -> Node:
        word = self._word()
        after = self._word(1)
        if word == "BEGIN" and after not in ("TRANSACTION", ";", ""):
            return self._guarded()
        if word in _LEAVING and after in (";", ""):
            self._next += 1
            return Leave(_LEAVING[word])
        readers: Mapping[str, Callable[[], Node]] = {
            "IF": self._if,
            "CASE": self._case,
            "LOOP": self._loop,
            "WHILE": self._while,
            "REPEAT": self._repeat,
            "FOR": self._for,
            "RAISE": self._raise,
            "EXECUTE": self._execute,
            "ASSERT": self._assert,
        }
        return readers[word]() if word in readers else self._statement()

    def _statement(self) -> Statement:
        start = self._tokens[self._next]
        text = self._text_until(())
        if not text:
            raise self.unexpected()
        return Statement(text, parse_statement(text, start.line, start.col - (start.end - start.start)))

    def _guarded(self) -> Guarded:
        self._expect("BEGIN")
        body, handler = self.block(("EXCEPTION", "END")), None
        if self._skip("EXCEPTION"):
            self._expect("WHEN", "ERROR", "THEN")
            handler = self.block(("END",))
        self._expect("END")
        return Guarded(body, handler)

    def _if(self) -> Branches:
        self._expect("IF")
        branches = [self._branch("THEN", ("ELSEIF", "ELSE", "END"))]
        while self._skip("ELSEIF"):
            branches.append(self._branch("THEN", ("ELSEIF", "ELSE", "END")))
        return self._branches(branches, "IF")

    def _case(self) -> Branches:
        self._expect("CASE")
        searched = None if self._word() == "WHEN" else parse_expression(self._text_until(("WHEN",)))
        branches = []
        while self._skip("WHEN"):
            condition, body = self._branch("THEN", ("WHEN", "ELSE", "END"))
            equal = condition if searched is None else exp.EQ(this=searched.copy(), expression=condition)
            branches.append((equal, body))
        return self._branches(branches, "CASE")

    def _branch(self, then: str, ends: tuple[str, ...]) -> tuple[exp.Expr, Block]:
        condition = parse_expression(self._text_until((then,)))
        self._expect(then)
        return condition, self.block(ends)

    def _branches(self, branches: list[tuple[exp.Expr, Block]], kind: str) -> Branches:
        otherwise = self.block(("END",)) if self._skip("ELSE") else ()
        self._expect("END", kind)
        return Branches(tuple(branches), otherwise)

    def _loop(self) -> Loop:
        self._expect("LOOP")
        body = self.block(("END",))
        self._expect("END", "LOOP")
        return Loop(body)

    def _while(self) -> Loop:
        self._expect("WHILE")
        condition, body = self._branch("DO", ("END",))
        self._expect("END", "WHILE")
        return Loop(body, condition=condition)

    def _repeat(self) -> Loop:
        self._expect("REPEAT")
        body = self.block(("UNTIL",))
        self._expect("UNTIL")
        until = parse_expression(self._text_until(("END",)))
        self._expect("END", "REPEAT")
        return Loop(body, until=until)

    def _for(self) -> ForEach:
        self._expect("FOR")
        variable = self._tokens[self._next].text
        self._next += 1
        self._expect("IN")
        query = parse_expression(self._text_until(("DO",)))
        self._expect("DO")
        body = self.block(("END",))
        self._expect("END", "FOR")
        return ForEach(variable, query, body)

    def _raise(self) -> Raise:
        self._expect("RAISE")
        if not self._skip("USING"):
            return Raise(None)
        self._expect("MESSAGE", "=")
        return Raise(parse_expression(self._text_until(())))

    def _execute(self) -> Execute:
        self._expect("EXECUTE", "IMMEDIATE")
        sql, into, using = parse_expression(self._text_until(("INTO", "USING"))), "", ""
        if self._skip("INTO"):
            into = self._text_until(("USING",))
        if self._skip("USING"):
            using = self._text_until(())
        return Execute(sql, tuple(name.strip("` \n") for name in into.split(",") if into), _parameters(using))

    def _assert(self) -> Assertion:
        self._expect("ASSERT")
        condition, description = parse_expression(self._text_until(("AS",))), "Assertion failed"
        if self._skip("AS"):
            description = parse_expression(self._text_until(())).name
        return Assertion(condition, description)

    # -- words

    def _word(self, ahead: int = 0) -> str:
        """A token in upper case; empty at the end, and for what is quoted."""
        at = self._next + ahead
        if at >= len(self._tokens) or self._tokens[at].token_type in _QUOTED:
            return ""
        return self._tokens[at].text.upper()

    def _skip(self, word: str) -> bool:
        found = self._word() == word
        self._next += found
        return found

    def _expect(self, *words: str) -> None:
        for word in words:
            if not self._skip(word):
                raise self.unexpected()

    def _text_until(self, ends: tuple[str, ...]) -> str:
        """The text up to a semicolon or one of these words, outside of brackets and of CASE ... END."""
        first, depth = self._next, 0
        while not self.at_end and (depth or self._word() not in (";", *ends)):
            opens = self._tokens[self._next].token_type in _OPEN or self._word() == "CASE"
            closes = self._tokens[self._next].token_type in _CLOSE or (depth > 0 and self._word() == "END")
            depth += opens - closes
            self._next += 1
        if first == self._next:
            return ""
        return self._sql[self._tokens[first].start : self._tokens[self._next - 1].end + 1]


def _parameters(text: str) -> tuple[tuple[str, exp.Expr], ...]:
    """``1, 'a'`` or ``1 AS x, 'a' AS y``."""
    if not text:
        return ()
    query = parse_statement(f"SELECT {text}", 1, 1)
    return tuple(
        (p.alias, p.this) if isinstance(p, exp.Alias) else ("", p) for p in query.args.get("expressions") or ()
    )
