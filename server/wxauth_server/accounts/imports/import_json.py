"""Reads accounts from JSON: an array of objects, or an object on each line (JSON Lines).

Neither need fit into memory. An object that is broken or too long is refused
and the next one read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from wxauth_server.accounts.imports.import_columns import (
    ColumnMap,
    Places,
    RowReader,
    ValueRefused,
    ignored_columns,
    read_columns,
)
from wxauth_server.accounts.imports.import_files import Field, FileRefused, FileRow, Place
from wxauth_server.accounts.imports.import_json_objects import array_elements, line_elements
from wxauth_server.accounts.imports.import_text import DecodedFile

#: Different sets of keys whose meaning is kept; the objects of an export have few.
_KEPT_SHAPES = 1_000


class JsonFile:
    """An `AccountFile`: one array, or with `lines` an object on each line.

    Raises: FileRefused.
    """

    def __init__(
        self, file: BinaryIO, column_map: ColumnMap, *, encoding: str, lines: bool
    ) -> None:
        self.columns: dict[Field, str] = {}
        self.ignored: list[str] = []
        self._column_map = column_map
        self._accounts = RowReader(column_map)
        self._shapes: dict[tuple[str, ...], Places] = {}
        self._elements = line_elements if lines else array_elements
        self._text = DecodedFile(file, encoding)
        self._text.check_all()

    def place(self) -> Place:
        return self._text.place()

    def rows(self) -> Iterator[FileRow]:
        for line, element in self._elements(self._text.pieces()):
            if isinstance(element, str):
                yield FileRow(line, None, element)
            else:
                yield self._row(line, element)

    def _row(self, line: int, element: dict[str, object]) -> FileRow:
        columns = tuple(element)
        try:
            places = self._shapes.get(columns) or self._places(columns)
        except ValueRefused as error:
            return FileRow(line, None, str(error))
        return self._accounts.row(line, places, columns, [*element.values()])

    def _places(self, columns: tuple[str, ...]) -> Places:
        """Which value is which field, in objects with these keys.

        The first object must have those that are required; in later ones what is
        missing is absent.
        """
        is_first = not self._shapes
        try:
            places = self._column_map.places(columns, all_there=False)
        except FileRefused as error:
            if is_first:
                raise
            raise ValueRefused(str(error)) from None
        if is_first:
            self.columns = read_columns(places, columns)
            self._column_map.require(self.columns, columns)
            self.ignored = ignored_columns(places, columns)
        if len(self._shapes) < _KEPT_SHAPES:
            self._shapes[columns] = places
        return places
