"""Stored closes that the listing of their session contradicts: noted in `price_disagreements`, for people to look at.

The listing's last sale and Yahoo's close agree to the cent in 98.7 % of the recorded cases of 2024. A difference
refuses nothing by itself; what it takes for that stands in `verdicts.RULES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.market.adjustment import differs

if TYPE_CHECKING:
    from pipeline.market.evidence import Temporary


def note_disagreements(tables: Temporary) -> None:
    """Bring `price_disagreements` up to date in the spans of `believed_answers`, after storing their bars and actions.

    A listing is never restated: its price is brought to the basis of the bars by the splits since.
    """
    tables.execute(
        """
        DELETE FROM price_disagreements p USING believed_answers a
        WHERE p.symbol = a.symbol AND p.date BETWEEN a.asked_from AND a.asked_to
        """
    )
    tables.execute(
        f"""
        INSERT INTO price_disagreements BY NAME
        SELECT symbol, date, close, last_sale, volume, listed_volume, now() AS noted_at
        FROM (
            SELECT s.symbol, s.date, any_value(s.close) AS close, any_value(s.volume) AS volume,
                   any_value(l.volume) AS listed_volume,
                   any_value(l.last_sale) / coalesce(product(c.value), 1) AS last_sale
            FROM believed_answers a
            JOIN stock_data s ON s.symbol = a.symbol AND s.date BETWEEN a.asked_from AND a.asked_to
            JOIN symbol_snapshots l ON l.symbol = s.symbol AND l.date = s.date AND l.last_sale > 0
            LEFT JOIN corporate_actions c ON c.symbol = s.symbol AND c.kind = 'split' AND c.date > s.date
            GROUP BY s.symbol, s.date
        ) WHERE {differs("close", "last_sale")}
        """
    )
