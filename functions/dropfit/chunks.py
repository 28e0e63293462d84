# SPDX-License-Identifier: Apache-2.0
"""Column chunks of a Parquet footer, looked at without danger.

`RowGroupMetaData.column` of pyarrow 25 lets an exception of C++ pass through code that expects none, and the process
aborts, when a chunk contradicts its column (a histogram of another length than the schema asks for, say). Its reader
asks the same of the footer and catches it, so that is asked first, with a stream that ends the reading there.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


class NoBytes(io.RawIOBase):
    """A file of that size which gives none of its bytes.

    Attributes:
        asked: whether a reader has made sense of the footer, and asked for bytes. (An exception would tell it too,
            were pyarrow not to keep that, and with it every frame that led there.)
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0
        self.asked = False

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where it is."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Nothing."""
        self.asked = True
        return b""


def chunks(footer: Any, size: int, group: int, places: Sequence[int]) -> list[Any]:
    """The metadata of some column chunks of a row group.

    Args:
        footer: pq.FileMetaData.
        size: of the file, in bytes.
        group: which row group.
        places: which leaf columns.

    Raises:
        pa.ArrowException, OSError: when the footer contradicts itself.
    """
    file = NoBytes(size)
    reader = pq.ParquetFile(file, metadata=footer)
    for place in places:
        file.asked = False
        try:
            reader.read_row_group(group, columns=[footer.schema.column(place).path], use_threads=False)
        except (pa.ArrowException, OSError):
            if not file.asked:
                raise
    found = footer.row_group(group)
    return [found.column(place) for place in places]
