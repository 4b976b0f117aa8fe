"""Audits of whole histories: those that are due on an evening, or those that somebody asks for (`pipeline audit`)."""

from __future__ import annotations

import datetime as dt
import logging
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.config import market, quality
from pipeline.database.connection import reading, writing
from pipeline.sources.protocol import BarRequest
from pipeline.tasks.progress import Bar, Say

if TYPE_CHECKING:
    from pipeline.market.audits import Audit

logger = logging.getLogger("pipeline")


def audit_due(session: dt.date, folder: pathlib.Path, say: Say) -> dict[str, int]:
    """Audit the histories whose turn it is with the session's run, before it extends them; counts for its summary.

    Their answers are kept apart from the session's (`FOLDER.audit`), and an audit that is not believed leaves the
    symbol as it was: no audit can fail a session. A run after a kill audits what is left of the day's number.
    """
    if not quality().audit_per_day or market().offline:
        return {}
    from pipeline.market.audits import due, whole_requests

    with reading() as connection:
        requests = whole_requests(connection, due(connection, session, quality().audit_per_day), None)
    return counted(audit(requests, session, folder.with_name(f"{folder.name}.audit"), say))


def audit(requests: Sequence[BarRequest], session: dt.date, folder: pathlib.Path, say: Say) -> list[Audit]:
    """Ask for whole histories, heal what differs, and write down what was found; all of it in one transaction."""
    from pipeline.market.audits import record_audits
    from pipeline.market.evidence import Evidence
    from pipeline.market.load import store_answers
    from pipeline.market.verdicts import judge
    from pipeline.sources.registry import configured_source

    if not requests:
        return []
    with Bar("audit", say) as bar:
        configured_source().collect(requests, folder, bar.advance)
    with writing() as connection, Evidence(connection, folder, requests) as answers:
        judge(answers)
        store_answers(answers)
        found = record_audits(answers, session)
    for each in found:
        if each.differed or each.is_open:
            logger.warning("audit of %s: %s", each.symbol, described(each))
    return found


def described(found: Audit) -> str:
    """What an audit found, in words."""
    if found.is_open:
        return f"not believed: {found.reason}"
    return f"{found.differed:,} of {found.bars:,} bars differed and were healed" if found.differed else "no difference"


def counted(found: Sequence[Audit]) -> dict[str, int]:
    """How many histories were audited, differed and were not believed, and how many bars were healed."""
    if not found:
        return {}
    return {
        "audited_histories": len(found),
        "healed_histories": sum(each.differed > 0 for each in found),
        "healed_bars": sum(each.differed for each in found),
        "open_audits": sum(each.is_open for each in found),
    }
