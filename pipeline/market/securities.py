"""What kind of security a line of the listing is: NASDAQ lists warrants, units, rights and notes beside the shares."""

from __future__ import annotations

import functools
import re

#: The first pattern found in the name decides. A partnership's common or depositary units and a trust's units of
#: beneficial interest are its shares; preferred stock is often
#: held through depositary shares, and depositary receipts for common stock are shares.
_PATTERNS = (
    ("note", re.compile(r"\b(notes?|debentures?|bonds?)\b", re.IGNORECASE)),
    ("warrant", re.compile(r"\bwarrants?\b", re.IGNORECASE)),
    ("preferred", re.compile(r"\b(preferred|preference)\b", re.IGNORECASE)),
    ("share", re.compile(r"\b((common|depositary|depository) units?|units? (representing|of))\b", re.IGNORECASE)),
    ("unit", re.compile(r"\bunits?\b", re.IGNORECASE)),
    ("right", re.compile(r"\brights?\b(?!\s+(to|inc|corp|company))", re.IGNORECASE)),
)
#: Words that a company may bear in its own name are looked for only behind the legal form, where the security is named.
_LEGAL_FORM = re.compile(
    r"^.*?\b(inc|corp|corporation|company|co|ltd|limited|plc|n\.?v|s\.?a|l\.?p|trust|group|holdings?|ag|se)\b\.?,?",
    re.IGNORECASE,
)


@functools.lru_cache(maxsize=20_000)  # of a company every listing has the same name
def security_type(name: str) -> str:
    """`share`, `preferred`, `note`, `warrant`, `unit` or `right`, from the name in the listing."""
    form = _LEGAL_FORM.match(name)
    security = name[form.end() :] if form else name.partition(" ")[2]
    return next((kind for kind, pattern in _PATTERNS if pattern.search(security)), "share")
