"""Random words by name: every stream is keyed by what it is for, never by its place in a list.

A stream's key is a hash of the master seed and of names such as the symbol and the purpose, so adding a symbol,
reordering symbols or drawing in other block sizes changes no other stream. Words come from a counter-based generator:
any position can be reached at once, and the raw 64-bit words are the same in every NumPy version (unlike the
floats that NumPy makes of them, which is why `arithmetic` has its own conversions).
"""

from hashlib import blake2b

from numpy.random import Philox

from fauxchange.domain.arithmetic import WordArray

_WORDS_PER_COUNT = 4


class WordStream:
    """The endless sequence of 64-bit words that belongs to a master seed and some names."""

    def __init__(self, seed: int, *names: str) -> None:
        text = "\x00".join((str(seed), *names))
        digest = blake2b(text.encode(), digest_size=16, person=b"fauxchange").digest()
        self._key = int.from_bytes(digest, "little")
        self._generator = Philox(key=self._key)
        self._next = 0

    def words(self, first: int, count: int) -> WordArray:
        """Return the words at positions `first` to `first + count - 1`; reading on where the last call ended is free.

        Shapes: result (count,)
        """
        if first != self._next:
            block, offset = divmod(first, _WORDS_PER_COUNT)
            self._generator = Philox(key=self._key, counter=block)
            self._generator.random_raw(offset, output=False)
        self._next = first + count
        return self._generator.random_raw(count)
