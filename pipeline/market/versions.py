"""What was once believed is kept: the values of bars before they were replaced, and whole changes of basis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.market.adjustment import differs

if TYPE_CHECKING:
    from pipeline.database.temporary import Temporary


def keep_versions(tables: Temporary) -> None:
    """Copy the bars that `bar_changes` is about to replace or delete into `bar_versions`, in the caller's transaction.

    A history that is replaced on another basis leaves a row of `basis_changes`, too, with its factor. The replaced
    closes themselves are kept as they were: sources round, so that a division would not give them back.
    """
    tables.execute(
        """
        INSERT INTO bar_versions BY NAME
        SELECT s.* EXCLUDE (source), now() AS replaced_at, coalesce(c.reason, c.change) AS reason
        FROM stock_data s JOIN bar_changes c ON c.symbol = s.symbol AND c.date = s.date
        WHERE c.change <> 'added'
        ORDER BY s.symbol, s.date
        """
    )
    tables.execute(
        f"""
        INSERT INTO basis_changes BY NAME
        SELECT symbol, now() AS changed_at, any_value(factor) AS factor, any_value(reason) AS evidence,
               count(*) AS bars, max(c.date) FILTER ({differs("c.close", "s.close")}) AS last_date
        FROM bar_changes c JOIN stock_data s USING (symbol, date) WHERE c.change = 'restated'
        GROUP BY symbol
        """
    )
