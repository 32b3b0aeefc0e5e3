"""SQL over the stored tables, for whoever thinks in it: DuckDB's own, on this machine only.

A shared notebook may hold any query, so each runs in a DuckDB of its own that may read the session's parts
and nothing else, with its configuration locked; and only a SELECT is run.
"""

from __future__ import annotations

import re

import duckdb
import pandas as pd

from tracelab.errors import UsageError
from tracelab.query.kernels import to_pandas
from tracelab.query.tables import Tables, relation
from tracelab.schema import TABLES
from tracelab.session.reader import Parts


def select(tables: Tables, query: str) -> pd.DataFrame:
    """The answer to one SELECT over the tables of a session, in the order that the query asks for.

    Integers stay integers, with <NA> where there is none. Raises UsageError when it is not one SELECT, or is wrong,
    MissingTable when it names a table that was not recorded, and NotASession when a part is damaged.
    """
    named = [t for t in TABLES if t in set(re.findall(r"\w+", query.lower()))]
    parts = [tables.store.parts(table) for table in named if tables.has(table)]
    with duckdb.connect(config={"python_enable_replacements": "false", "temp_directory": ""}) as connection:
        connection.execute("SET allowed_paths = ?", [[str(file) for part in parts for file in part.closed]])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        for part in parts:
            view(tables, connection, part)
        try:
            return to_pandas(_only_select(connection, query).to_arrow_table())
        except duckdb.CatalogException as error:
            for table in named:
                tables.store.parts(table)  # raises MissingTable
            raise _wrong(error) from error
        except duckdb.Error as error:
            for part in parts:
                if damaged := tables.store.damaged_part(part.table):
                    raise damaged from error
            raise _wrong(error) from error


def view(tables: Tables, connection: duckdb.DuckDBPyConnection, parts: Parts) -> None:
    """Make a table visible by its name; raises NotASession when a part is damaged."""
    try:
        relation(connection, parts).create_view(parts.table)
    except duckdb.Error as error:
        raise tables.damage(error) from error


def _only_select(connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyRelation:
    statements = connection.extract_statements(query)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise UsageError(
            "s.sql() runs one SELECT; anything else could change, or reach, what is not the session"
        )
    return connection.sql(query)


def _wrong(error: duckdb.Error) -> UsageError:
    return UsageError(f"s.sql(): {str(error).strip()[:800]}")
