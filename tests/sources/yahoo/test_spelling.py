"""Yahoo's way of writing the screener's symbols."""

from __future__ import annotations

import pytest

from pipeline.sources.yahoo.spelling import SPELLINGS, yahoo_name


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.security)
def test_each_line_of_the_table_holds_for_its_own_pair(spelling):
    listed, at_yahoo = spelling.example
    assert yahoo_name(listed) == at_yahoo


# The left side is as the screener's API lists it, the right side as Yahoo's quote pages are called.
@pytest.mark.parametrize(
    ("listed", "at_yahoo"),
    [
        ("AAM^B", "AAM-PB"), ("TY^", "TY-P"), ("NYCB^U", "NYCB-PU"), ("PRIF^D", "PRIF-PD"),
        ("BRK/B", "BRK-B"), ("BRK.B", "BRK-B"), ("BF/A", "BF-A"), ("AKO/B", "AKO-B"), ("MKC/V", "MKC-V"),
        ("BW/WS", "BW-WT"), ("BAC.WS.A", "BAC-WTA"), ("RBC.WD", "RBC-WI"), ("FOO/RT", "FOO-RI"),
        ("AAPL", "AAPL"), ("NA", "NA"), ("TRUE", "TRUE"), ("AACIW", "AACIW"), ("WS", "WS"), ("U", "U"),
    ],
)  # fmt: skip
def test_symbols_of_the_listings(listed, at_yahoo):
    assert yahoo_name(listed) == at_yahoo


def test_two_securities_of_a_company_stay_two():
    listed = ["BAC", "BAC^L", "BAC/WS", "BAC/WS/A", "BAC/U", "BAC/R", "BAC/L", "BAC^", "BAC$"]
    assert len({yahoo_name(symbol) for symbol in listed}) == len(listed)


@pytest.mark.parametrize("symbol", ["^GSPC", "A/../B", "A?x=1", "A B", "../../x"])
def test_nothing_else_gets_into_the_path(symbol):
    assert not set("/?^ ") & set(yahoo_name(symbol))
