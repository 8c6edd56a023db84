"""Damage to a file, chosen by a seed, and the message that tells how to see a failure again."""

import contextlib
import random
import struct

#: Numbers that lengths and counts are replaced by.
EXTREMES = [0, 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1]


def damaged(content, chance):
    """Return a copy of some bytes with one to three faults in it."""
    for _ in range(chance.randint(1, 3)):
        content = chance.choice(FAULTS)(content, chance)
    return content


def _flip(content, chance):
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(content, chance):
    return content[: chance.randint(0, len(content))]


def _drop(content, chance):
    begin = chance.randint(0, len(content))
    return content[:begin] + content[begin + chance.randint(1, 20) :]


def _repeat(content, chance):
    begin = chance.randint(0, len(content))
    part = content[begin : begin + chance.randint(1, 60)]
    return content[:begin] + part * chance.randint(2, 5) + content[begin:]


def _insert(content, chance):
    begin = chance.randint(0, len(content))
    odd = chance.choice([b"\0", b'"', b"\n", b"\r", b",", b"\xff\xfe", b"\xef\xbb\xbf", chance.randbytes(8)])
    return content[:begin] + odd + content[begin:]


def _extreme(content, chance):
    number = struct.pack("<Q", chance.choice(EXTREMES))[: chance.choice([4, 8])]
    begin = chance.randint(0, max(0, len(content) - len(number)))
    return content[:begin] + number + content[begin + len(number) :]


def _random(content, chance):
    return chance.randbytes(chance.randint(0, 200))


FAULTS = [_flip, _flip, _cut, _drop, _repeat, _insert, _extreme, _extreme, _random]


def cases(name, usual, budget):
    """Yield the number of each case and its random generator; a failure tells both."""
    for number in range(usual * budget):
        seed = f"{name} {number}"
        yield _Case(seed, random.Random(seed))


class _Case:
    """One damaged file: a context in which nothing may be raised but what is expected."""

    def __init__(self, seed, chance):
        self.seed = seed
        self.chance = chance

    @contextlib.contextmanager
    def only(self, *expected):
        """Let pass what a reader may raise, with a word about it; everything else fails with the seed."""
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of polars is no Exception
            if isinstance(error, expected) and str(error):
                return
            raise AssertionError(f"seed {self.seed!r}: {type(error).__name__}: {error}") from error
