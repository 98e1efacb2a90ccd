"""The recorded streams, whose right answer independent engines agree on."""

import hashlib
from pathlib import Path

import pytest

from fauxchange.bench.matching import decode, measure, report_lines

STREAMS = {
    "static": "72e508223c56111094a51594191163ee2f23136abd0833d04a77cbf7d571261b",
    "normal": "28d08194b7e6d44d5de3d6dfb7eb08ec8847ece6ab7475d38ced25a05abffa1b",
    "swing-25": "c6d3924cf46992c7e77c9e0ec6aa75e1477dc4884ed8408444b0c673ed6c8d78",
    "swing-40": "18ff2d221106f30841f331a282e122c027161f29e085b32f92213fd4ad89d4f1",
    "flash-crash": "f19fb9be0569f0098a28d48888831ae3beed9220e8b34d56a08256ca22d7ac3c",
}


@pytest.mark.data("matching")
@pytest.mark.parametrize(("name", "published"), STREAMS.items(), ids=STREAMS)
def test_a_recorded_stream_gives_the_published_reports(name: str, published: str, recorded_data: Path) -> None:
    stream = decode(recorded_data / "matching" / f"{name}.s7.n50000.bin.xz")

    events, _ = measure(stream, 0)

    assert hashlib.sha256("\n".join(report_lines(stream, events)).encode()).hexdigest() == published
