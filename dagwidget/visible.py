r"""Text from elsewhere, as a person may read it. The same as `js/src/view/model/visible.ts`.

Characters that nobody sees change what is read: in "Delete \u202etxt.exe" the end is turned around. So they are shown.
"""

from __future__ import annotations

import re
import string
from typing import Final

_LAYOUT: Final = "\t\n"
_JOINERS: Final = "\u200c\u200d"
# What Unicode calls "default ignorable", as fillers of Hangul and selectors of variants, and the blank of Braille.
_BLANK: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
_EMOJI: Final = "\ufe0f"
_KEYCAP: Final = "\u20e3"
# What is no emoji, so that it has no such variant.
_PLAIN: Final = frozenset(string.ascii_letters + string.digits + " \t\n\r" + _EMOJI)


def visible(text: str) -> str:
    """`text` with each unseen character as its number, such as `[U+202E]`: controls, directions, what has no width."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"[U+{ord(sign):04X}]" if _is_unseen(sign, text[at - 1 : at], text[at + 1 : at + 2]) else sign
        for at, sign in enumerate(text)
    )


def _is_unseen(sign: str, before: str, after: str) -> bool:
    if sign == "\r":
        # Alone it has a terminal write over the line.
        return after != "\n"
    if sign == _EMOJI:
        return after != _KEYCAP and (not before or before in _PLAIN)
    if _BLANK.match(sign):
        return True
    if sign.isprintable() or sign in _LAYOUT:
        return False
    from unicodedata import category

    if sign in _JOINERS and before and (category(before) == "Lo" or category(before)[0] in "MS"):
        # They belong to emoji, Arabic and Indic words.
        return False
    return category(sign) in ("Cc", "Cf", "Zl", "Zp")
