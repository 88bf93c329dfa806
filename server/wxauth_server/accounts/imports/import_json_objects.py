"""Takes a text of JSON apart into objects, one at a time, in bounded memory.

Both functions yield the line on which an element begins, and the object or why
it is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from wxauth_server.accounts.imports.import_files import MAX_ROW_CHARACTERS, FileRefused
from wxauth_server.accounts.imports.import_text import LineTooLong, TextLines

Element = tuple[int, dict[str, object] | str]

_TOO_LONG = f"the row is longer than {MAX_ROW_CHARACTERS} characters"
_NO_JSON = "the row is no JSON"
_SIGN = re.compile(r"[^ \t\r\n]")


class _KeyTwice(ValueError):
    pass


def line_elements(pieces: Iterator[str]) -> Iterator[Element]:
    """The objects of a text with one on each line."""
    lines = TextLines(pieces)
    while True:
        lines.begin_row()
        try:
            line = next(lines)
        except LineTooLong:
            yield lines.number, _TOO_LONG
            continue
        except StopIteration:
            return
        if line := line.strip():
            found, end = _decoded(line, 0)
            yield lines.number, found if end in {None, len(line)} else _NO_JSON


def array_elements(pieces: Iterator[str]) -> Iterator[Element]:
    """The objects of a text that is one array.

    Raises: FileRefused where it is not, or ends too early.
    """
    text = _Text(pieces)
    if text.next_sign() != "[":
        raise FileRefused(
            "the file is no array of objects: one that has an object on each line is read with "
            "--format jsonl"
        )
    text.step()
    if text.next_sign() == "]":
        text.step()
    else:
        while True:
            text.next_sign()
            yield text.line, text.element()
            sign = text.next_sign()
            text.step()
            if sign == "]":
                break
            if sign != ",":
                raise FileRefused(f"line {text.line}: the array is no JSON from here on")
    if text.next_sign(or_end=True):
        raise FileRefused(f"line {text.line}: there is more after the end of the array")


class _Text:
    """What is left of a text, of which only a part is in memory."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._text = ""
        self._at = 0
        self.line = 1

    def step(self, to: int | None = None) -> None:
        """Go to another place: the next one, unless told."""
        at = self._at + 1 if to is None else to
        self.line += self._text.count("\n", self._at, at)
        self._at = at

    def next_sign(self, *, or_end: bool = False) -> str:
        """Go to what is no white space; "" at the end. Raises: FileRefused at the end."""
        while True:
            found = _SIGN.search(self._text, self._at)
            self.step(found.start() if found else len(self._text))
            if found:
                return found[0]
            if not self._read_on():
                if or_end:
                    return ""
                raise FileRefused(f"line {self.line}: the file ends before its array does")

    def element(self) -> dict[str, object] | str:
        """The element here, or why it is refused; goes to its end."""
        while True:
            found, end = _decoded(self._text, self._at)
            if end is None:
                end = _ElementEnd().find(self._text, self._at)
            # At the end of what is in memory a number may go on in the next piece.
            at_end = end is None or end == len(self._text)
            if at_end and len(self._text) - self._at > MAX_ROW_CHARACTERS:
                self._skip_element()
                return _TOO_LONG
            if at_end and self._read_on():
                continue
            if end is None:
                raise FileRefused(
                    f"line {self.line}: the file ends within the row that begins here"
                )
            too_long = end - self._at > MAX_ROW_CHARACTERS
            self.step(end)
            return _TOO_LONG if too_long else found

    def _skip_element(self) -> None:
        end = _ElementEnd()
        while (found := end.find(self._text, self._at)) is None:
            self.step(len(self._text))
            if not self._read_on():
                raise FileRefused(f"line {self.line}: the file ends within a row that is too long")
        self.step(found)

    def _read_on(self) -> bool:
        """Have more of the text in memory; False at its end."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._text = self._text[self._at :] + piece
        self._at = 0
        return True


class _ElementEnd:
    """Finds where an element of an array ends, even if it is no JSON. Can be asked piecemeal."""

    _OUTSIDE = re.compile(r'["\[\]{},]')
    # As much of a string as there is, and what ends it: a backslash at the end of the
    # text escapes what comes next.
    _WITHIN = re.compile(r'(?:[^"\\]++|\\.)*+("|\\)?', re.DOTALL)

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def find(self, text: str, at: int) -> int | None:
        """Where the comma or bracket after the element is; None if that is not in this text."""
        if self._escaped and at < len(text):
            self._escaped = False
            at += 1
        while at < len(text):
            if self._in_string:
                within = self._WITHIN.match(text, at)
                assert within is not None  # noqa: S101 - it matches nothing, too
                at = within.end()
                self._in_string = within[1] != '"'
                self._escaped = within[1] == "\\"
                continue
            found = self._OUTSIDE.search(text, at)
            if found is None:
                break
            sign, at = found[0], found.end()
            if sign == '"':
                self._in_string = True
            elif sign in "[{":
                self._depth += 1
            elif self._depth == 0:
                return found.start()
            elif sign != ",":
                self._depth -= 1
        return None


def _without_repetition(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _KeyTwice
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repetition)


def _decoded(text: str, at: int) -> tuple[dict[str, object] | str, int | None]:
    """The object here or why it is none, and where it ends; None if that is unknown."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except _KeyTwice:
        return "the row has a key twice", None
    except RecursionError:
        return "the row is nested too deeply", None
    except ValueError:  # no JSON, or a number of thousands of digits
        return _NO_JSON, None
    return (value if isinstance(value, dict) else "the row is no JSON object"), end
