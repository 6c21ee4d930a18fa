"""MessagePack: like JSON, in bytes."""

import msgspec

from monitor.payloads.document import documents
from monitor.payloads.sample import Decoder, Layout, MalformedError, Sample


def decoder(layout: Layout) -> Decoder:
    """Compile a decoder."""
    parsed = msgspec.msgpack.Decoder().decode
    samples = documents(layout)

    def decode(payload: bytes, topic: str) -> list[Sample]:
        del topic
        try:
            document = parsed(payload)
        except RecursionError:
            raise MalformedError("is nested too deeply") from None
        except (ValueError, TypeError, OverflowError) as error:
            raise MalformedError(f"is no MessagePack ({str(error)[:80]})") from None
        return samples((document,))

    return decode
