"""CSV without a header: every line is a sample, its cells found by number or by column name."""

import csv
from dataclasses import replace

from monitor.payloads.document import documents
from monitor.payloads.sample import Decoder, Layout, MalformedError, Sample


def decoder(layout: Layout) -> Decoder:
    """Compile a decoder; a cell that spells a number is one."""
    fields = tuple(replace(field, text=True) for field in layout.fields)
    samples = documents(replace(layout, fields=fields))
    columns = layout.columns

    def decode(payload: bytes, topic: str) -> list[Sample]:
        del topic
        try:
            lines = payload.decode().splitlines()
            rows = [
                [cell.strip() for cell in row]
                for row in csv.reader(lines, delimiter=layout.delimiter, strict=True)
                if row
            ]
        except (ValueError, csv.Error) as error:
            raise MalformedError(f"is no CSV ({str(error)[:80]})") from None
        if not rows:
            raise MalformedError("is no CSV (it has no line)")
        if not columns:
            return samples(rows)
        for row in rows:
            if len(row) != len(columns):
                raise MalformedError(f"has a line of {len(row)} cells; wanted {len(columns)}")
        return samples([dict(zip(columns, row, strict=True)) for row in rows])

    return decode
