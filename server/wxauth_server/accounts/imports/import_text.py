"""Lines of a text file, in any encoding, of bounded length, and the numbers they have."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from wxauth_server.accounts.imports.import_files import MAX_ROW_CHARACTERS, FileRefused, Place

_READ_BYTES = 64 * 1024
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class LineTooLong(ValueError):
    """A line of more than MAX_ROW_CHARACTERS. It was read to its end and not kept."""

    def __init__(self, quotes: int) -> None:
        super().__init__()
        #: How many quotation marks it has.
        self.quotes = quotes


class DecodedFile:
    """The text of a file, a piece at a time; a byte order mark is no part of it.

    Raises: FileRefused for an encoding that is not known.
    """

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file = file
        self._encoding = encoding
        try:
            "".encode(encoding)  # raises for what is no encoding of text, too
            self._decoder = codecs.getincrementaldecoder(encoding)()
        except (LookupError, UnicodeError):
            raise FileRefused(
                f"the encoding {encoding!r} is not known: such as utf-8, gb18030 or utf-16"
            ) from None
        self._total = file.seek(0, 2) if file.seekable() else None
        self._done = 0
        self._line_ends = 0
        if self._total is not None:
            file.seek(0)

    def check_all(self) -> None:
        """Decode all of it once, if it can be read again after that.

        Raises: FileRefused where it is not in this encoding.
        """
        if self._total is None:
            return
        for _ in self.pieces():
            pass
        self._file.seek(0)
        self._decoder.reset()
        self._done = self._line_ends = 0

    def pieces(self) -> Iterator[str]:
        """All of the text. Raises: FileRefused where it is not in this encoding."""
        while piece := self._read():
            if not self._done:
                self._refuse_utf_16(piece)
            text = self._decoded(piece, final=False)
            if not self._done:
                text = text.removeprefix("\ufeff")
            self._done += len(piece)
            self._line_ends += text.count("\n")
            yield text
        yield self._decoded(b"", final=True)

    def place(self) -> Place:
        return Place(self._done, self._total)

    def _read(self) -> bytes:
        try:
            return self._file.read(_READ_BYTES)
        except OSError as error:
            raise FileRefused(f"cannot be read: {error.strerror}") from None

    def _decoded(self, piece: bytes, *, final: bool) -> str:
        try:
            return self._decoder.decode(piece, final)
        except UnicodeError as error:
            good = ""
            if isinstance(error, UnicodeDecodeError):
                good = error.object[: error.start].decode(self._encoding, "ignore")
            line = self._line_ends + good.count("\n") + 1
        other = "gb18030" if codecs.lookup(self._encoding).name.startswith("utf") else "utf-8"
        raise FileRefused(
            f"line {line} is not {self._encoding}: say which encoding the file has, "
            f"such as --encoding {other}"
        )

    def _refuse_utf_16(self, beginning: bytes) -> None:
        name = codecs.lookup(self._encoding).name
        if beginning.startswith(_UTF_16) and not name.startswith(("utf-16", "utf-32")):
            raise FileRefused("the file is UTF-16: say so with --encoding utf-16")


class TextLines:
    """The lines of a text, each with its end; for `csv.reader`, which reads on within quotes.

    Goes on after LineTooLong.
    """

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._lines: deque[str] = deque()
        self._rest = ""
        #: How many lines were read, and how many characters and quotation marks they
        #: have since `begin_row`.
        self.number = 0
        self.characters = 0
        self.quotes = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """Raises: LineTooLong for a line, or for a row of several, that is."""
        while not self._lines:
            if len(self._rest) > MAX_ROW_CHARACTERS:
                self._skip_line()
            self._read_piece()
        line = self._lines.popleft()
        self.number += 1
        self.characters += len(line)
        self.quotes += line.count('"')
        if self.characters > MAX_ROW_CHARACTERS:
            raise LineTooLong(self.quotes)
        return line

    def begin_row(self) -> None:
        """The next line is the first one of a row."""
        self.characters = self.quotes = 0

    def _read_piece(self) -> None:
        """Raises: StopIteration after the last one."""
        piece = next(self._pieces, None)
        if piece is None:
            if not self._rest:
                raise StopIteration
            self._lines.append(self._rest)
            self._rest = ""
            return
        *lines, rest = piece.split("\n")
        if lines:
            self._lines.append(f"{self._rest}{lines[0]}\n")
            self._lines.extend(f"{line}\n" for line in lines[1:])
            self._rest = rest
        else:
            self._rest += rest

    def _skip_line(self) -> None:
        """Raises: LineTooLong, after the rest of the line was read."""
        while not self._lines:
            self.quotes += self._rest.count('"')
            self._rest = ""
            try:
                self._read_piece()
            except StopIteration:
                break
        if self._lines:
            self.quotes += self._lines.popleft().count('"')
        self.number += 1
        raise LineTooLong(self.quotes)
