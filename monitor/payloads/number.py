"""A bare number, or a word that means one, for topics that name the sensor."""

import math

from monitor.payloads.document import blank, take
from monitor.payloads.sample import Decoder, Field, Layout, MalformedError, Sample
from monitor.payloads.value import LONGEST_WORD, NO_VALUE, NUMBER


def decoder(layout: Layout) -> Decoder:
    """Compile a decoder; such a payload has no paths and no time."""
    field, nothing = _only(layout), [math.nan] * layout.width

    def decode(payload: bytes, topic: str) -> list[Sample]:
        del topic
        if field is None:
            return [blank(layout)]  # whatever it is, it is no business of ours
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            raise MalformedError("is no number") from None
        if not NUMBER.fullmatch(text):
            word = text.strip() if len(text) <= LONGEST_WORD else "?"
            if word.lower() not in NO_VALUE and word not in field.values:
                raise MalformedError("is no number")
        values = nothing.copy()
        return [Sample(values, None, take(text, field, values))]

    return decode


def _only(layout: Layout) -> Field | None:
    """The sensor that the topic names, whose numbers are texts here."""
    if not layout.fields:
        return None
    (field,) = layout.fields
    return Field(field.column, field.path, True, field.values)
