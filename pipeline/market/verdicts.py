"""The table of verdicts: what is believed of an answer, and what follows.

An answer is a claim. It is held against the bars stored, the listing of the same session and the answers before
(`facts.gather_facts` puts these into one row an answer), and the first rule that holds decides.

| verdict | what follows |
|---|---|
| take over | new bars and bars that differ are stored, and the actions of the span replaced |
| replace | the same, for a whole history: stored bars that the answer lacks go, too |
| add | an older answer than one that was taken over: only bars that are not stored yet, and their actions |
| ask whole | the whole history is asked for; nothing is stored of this answer |
| keep | what is stored stays; the symbol ends the session as failed, with the reason, and is asked for again |
| refuse | there is no answer to store; the state says why |
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

from pipeline.config import quality
from pipeline.market.facts import gather_facts
from pipeline.market.validation import judge_bars

if TYPE_CHECKING:
    from pipeline.market.evidence import Evidence

logger = logging.getLogger("pipeline")

TAKE_OVER, REPLACE, ADD, ASK_WHOLE, KEEP, REFUSE = "take over", "replace", "add", "ask whole", "keep", "refuse"
#: What these answers say is stored.
BELIEVED = (TAKE_OVER, REPLACE, ADD)
#: Of the steps from bar to bar of a whole history, this share at most changes the ratio of answered to stored closes: a
#: split makes one step, another company's chart one at each bar.
STEPS = 0.05
#: A whole history with more bars than this that differ is replaced, not revised.
REVISIONS = 5


@dataclasses.dataclass(frozen=True)
class Rule:
    """`holds` and `reason` are SQL over a row of `facts`; `meaning` says the rule to people."""

    name: str
    meaning: str
    holds: str
    verdict: str
    reason: str


_FACTOR = "coalesce(split, format('closes restated by {:.4g}', factor))"
_MOVED = f"(oldest_differs OR (is_whole AND differing > {REVISIONS}))"
_OFF = "format('; its newest close is {:.4g} times the last sale of the listing', listing_off)"

#: In their order.
RULES: tuple[Rule, ...] = (
    Rule("no_answer", "no usable answer after all retries", "status = 'failed'", REFUSE, "reason"),
    Rule("unknown", "the source has no such symbol", "status = 'unknown'", REFUSE, "reason"),
    Rule(
        "older_on_another_basis",
        "older than an answer that was taken over, and on another basis",
        f"is_older AND {_MOVED}",
        REFUSE,
        "'an older answer, on another basis than the stored history'",
    ),
    Rule("older", "older than an answer that was taken over", "is_older", ADD, "NULL"),
    Rule(
        "history_lost",
        "the whole history, without more than `[quality] max_history_loss` of the stored sessions",
        "is_whole AND stored - kept > greatest(stored * $max_history_loss, 1)",
        KEEP,
        "format('the answer has {:,} of the {:,} stored sessions', kept, stored)",
    ),
    Rule(
        "overlap_lost",
        "none of the stored sessions of its span",
        "stored > 0 AND kept = 0",
        ASK_WHOLE,
        "format('the answer has none of the {:,} stored sessions', stored)",
    ),
    Rule(
        "split_awaited",
        "an event, or the listing, tells of a split, and the closes before it are not restated; "
        "for `[quality] split_patience` sessions",
        "awaited IS NOT NULL",
        KEEP,
        "awaited",
    ),
    Rule(
        "basis_moved",
        "the oldest bar that is stored, too, differs, whatever the newer ones do",
        "NOT is_whole AND oldest_differs",
        ASK_WHOLE,
        _FACTOR,
    ),
    Rule(
        "disagrees_with_all",
        "another basis that no split accounts for, or a first history, "
        "whose newest close is not the listing's last sale",
        f"({_MOVED} OR stored = 0) AND listing_off IS NOT NULL AND NOT is_explained AND NOT is_repeated",
        KEEP,
        f"CASE WHEN stored = 0 THEN 'a first answer' ELSE {_FACTOR} END || {_OFF}",
    ),
    Rule(
        "no_common_factor",
        "a whole history that differs from the stored one by no pattern of splits",
        f"is_whole AND {_MOVED} AND steps > greatest($steps * shared, 3) AND NOT is_repeated",
        KEEP,
        "format('{:,} of {:,} stored closes differ, by no common factor', differing, shared)",
    ),
    Rule(
        "large_revision",
        "a stored close would change by more than `[quality] max_revision`, and no listing bears it out",
        "NOT is_whole AND largest_revision > $max_revision AND NOT is_repeated",
        KEEP,
        "format('a stored close would change {:.4g} times, and no listing bears it out', largest_revision)",
    ),
    Rule("restated", "a whole history on another basis", f"is_whole AND stored > 0 AND {_MOVED}", REPLACE, _FACTOR),
    Rule("plain", "nothing speaks against it", "true", TAKE_OVER, "NULL"),
)


def judge(evidence: Evidence) -> None:
    """Make `verdicts` (symbol, rule, verdict, reason, factor, fetched_at), a row an answer, by RULES."""
    judge_bars(evidence)
    gather_facts(evidence)
    cases = {
        part: " ".join(f"WHEN {rule.holds} THEN {value(rule)}" for rule in RULES)
        for part, value in (
            ("rule", lambda rule: f"'{rule.name}'"),
            ("verdict", lambda rule: f"'{rule.verdict}'"),
            ("reason", lambda rule: rule.reason),
        )
    }
    evidence.make(
        "verdicts",
        f"""
        SELECT symbol, CASE {cases["rule"]} END AS rule, CASE {cases["verdict"]} END AS verdict,
               CASE {cases["reason"]} END AS reason, factor, fetched_at
        FROM facts
        """,
        {
            "max_history_loss": quality().max_history_loss,
            "max_revision": quality().max_revision,
            "steps": STEPS,
        },
    )


def found(evidence: Evidence, verdict: str) -> dict[str, str]:
    """The symbols with a verdict, and its reason."""
    return dict(
        evidence.execute(
            "SELECT symbol, reason FROM verdicts WHERE verdict = $verdict ORDER BY symbol", {"verdict": verdict}
        )
    )
