"""Text that other people wrote, made fit to be shown: nothing in it steers a terminal, and it ends somewhere."""

import re

__all__ = ["LONGEST", "cut", "without_controls"]

LONGEST = 1200
"""Characters of one part of a sentence."""

# Control characters but the ends of lines and tabs, marks that turn the direction of writing, and lone surrogates.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def without_controls(text: str) -> str:
    """``text`` with each control character written out, such as ``\\x1b`` for escape."""
    return _CONTROLS.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)


def cut(text: str, longest: int = LONGEST) -> str:
    """``text``, or its beginning and its end where it is longer."""
    return text if len(text) <= longest else f"{text[: longest - 60]} ... {text[-50:]}"
