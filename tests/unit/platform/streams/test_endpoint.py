import msgspec
import pytest

from fauxchange.platform.streams.endpoint import Operation, Sessions


class Place(Operation, tag="place", kw_only=True):
    lots: int


class QuickPlace(Place, tag="place", kw_only=True):
    def __post_init__(self) -> None:
        if self.lots > 9:
            raise ValueError("too many to be quick")


class Cancel(Operation, tag="cancel", kw_only=True):
    order: str


def sessions(*quick: type[Operation]) -> Sessions:
    return Sessions(lambda peer: None, (Place, Cancel), quick)  # type: ignore[arg-type, return-value]  # none is opened


def test_an_operation_is_of_its_quick_kind_where_that_takes_it() -> None:
    decode = sessions(QuickPlace).decoder()

    kinds = [type(decode(frame)) for frame in (b'{"op":"place","lots":9}', b'{"op":"place","lots":10}')]

    assert kinds == [QuickPlace, Place]
    assert decode(b'{"op":"cancel","order":"7"}') == Cancel(order="7")


@pytest.mark.parametrize(
    "frame", [b"{", b"[]", b'{"op":"place"}', b'{"op":"place","lots":"1"}', b'{"op":"sell"}', b'{"op":"place","lots":"']
)
def test_what_is_wrong_is_told_as_without_quick_kinds(frame: bytes) -> None:
    told = []
    for decode in (sessions().decoder(), sessions(QuickPlace).decoder()):
        with pytest.raises(msgspec.DecodeError) as raised:
            decode(frame)
        told.append((type(raised.value), str(raised.value)))

    assert told[0] == told[1]
