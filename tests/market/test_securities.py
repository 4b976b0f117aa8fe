"""Names as NASDAQ's listing has them, classified by hand."""

import pytest

from pipeline.market.securities import security_type

NAMES = {
    "Apple Inc. Common Stock": "share",
    "ASML Holding N.V. New York Registry Shares": "share",
    "COMPASS Pathways Plc American Depository Shares": "share",
    "Alliance Resource Partners L.P. Common Units representing Limited Partners Interests": "share",
    "Plains GP Holdings L.P. Class A Units representing Limited Partner Interests": "share",
    "Icahn Enterprises L.P. Depositary Units": "share",
    "Marine Petroleum Trust Units of Beneficial Interest": "share",
    "Brookfield Property Partners L.P. 6.50% Class A Cumulative Redeemable Perpetual Preferred Units": "preferred",
    "American Electric Power Company Inc. Corporate Units": "unit",
    "Notable Labs Ltd. Ordinary Shares": "share",
    "Bright Green Corporation Common Stock": "share",
    "United Therapeutics Corporation Common Stock": "share",
    "Unit Corporation Common Stock": "share",
    "Alvotech Warrant": "warrant",
    "ARKO Corp. Warrant": "warrant",
    "Chesapeake Energy Corporation Class C Warrants": "warrant",
    "Core Scientific Inc. Tranche 2 Warrants": "warrant",
    "Digital World Acquisition Corp. Units": "unit",
    "BrightSpring Health Services Inc. Tangible Equity Unit": "unit",
    "Acri Capital Acquisition Corporation Unit": "unit",
    "Global Star Acquisition Inc. Rights": "right",
    "Bellevue Life Sciences Acquisition Corp. Right": "right",
    "Abacus Life Inc. 9.875% Fixed Rate Senior Notes due 2028": "note",
    "Brighthouse Financial Inc. 6.25% Junior Subordinated Debentures due 2058": "note",
    "AGNC Investment Corp. Depositary Shares rep 6.875% Series D Cumulative Redeemable Preferred Stock": "preferred",
    "Enstar Group Limited Depository Shares 7.00% Perpetual Non-Cumulative Preference Shares Series E": "preferred",
}


@pytest.mark.parametrize(("name", "kind"), NAMES.items())
def test_type_of_a_listed_name(name: str, kind: str) -> None:
    assert security_type(name) == kind
