"""FARM_FINGERPRINT: the 64-bit fingerprint of FarmHash, which never changes between versions.

https://github.com/google/farmhash, ``util::Fingerprint64``; BigQuery gives it as a signed INT64.
"""

_K0 = 0xC3A5C85C97CB3127
_K1 = 0xB492B66FBE98F273
_K2 = 0x9AE16A3B2F90404F
_MASK = (1 << 64) - 1
_SEED = 81


def farm_fingerprint(data: bytes) -> int:
    value = _fingerprint(data)
    return value - (1 << 64) if value >> 63 else value


def _fingerprint(data: bytes) -> int:
    size = len(data)
    if size <= 16:
        return _up_to_16(data, size)
    if size <= 32:
        return _up_to_32(data, size)
    return _up_to_64(data, size) if size <= 64 else _longer(data, size)


def _fetch(data: bytes, at: int, width: int = 8) -> int:
    return int.from_bytes(data[at : at + width], "little")


def _rotate(value: int, by: int) -> int:
    value &= _MASK
    return ((value >> by) | (value << (64 - by))) & _MASK


def _mix(value: int) -> int:
    return value ^ (value >> 47)


def _combine(u: int, v: int, mul: int) -> int:
    a = _mix(((u ^ v) & _MASK) * mul & _MASK)
    return _mix(((v ^ a) & _MASK) * mul & _MASK) * mul & _MASK


def _up_to_16(data: bytes, size: int) -> int:
    mul = _K2 + size * 2
    if size >= 8:
        a, b = _fetch(data, 0) + _K2, _fetch(data, size - 8)
        return _combine(_rotate(b, 37) * mul + a, (_rotate(a, 25) + b) * mul, mul)
    if size >= 4:
        return _combine(size + (_fetch(data, 0, 4) << 3), _fetch(data, size - 4, 4), mul)
    if size == 0:
        return _K2
    y = data[0] + (data[size >> 1] << 8)
    z = size + (data[-1] << 2)
    return _mix((y * _K2 ^ z * _K0) & _MASK) * _K2 & _MASK


def _up_to_32(data: bytes, size: int) -> int:
    mul = _K2 + size * 2
    a, b = _fetch(data, 0) * _K1, _fetch(data, 8)
    c, d = _fetch(data, size - 8) * mul, _fetch(data, size - 16) * _K2
    return _combine(_rotate(a + b, 43) + _rotate(c, 30) + d, a + _rotate(b + _K2, 18) + c, mul)


def _up_to_64(data: bytes, size: int) -> int:
    mul = _K2 + size * 2
    a, b = _fetch(data, 0) * _K2, _fetch(data, 8)
    c, d = _fetch(data, size - 8) * mul, _fetch(data, size - 16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _combine(y, a + _rotate(b + _K2, 18) + c, mul)
    e, f = _fetch(data, 16) * mul, _fetch(data, 24)
    g, h = (y + _fetch(data, size - 32)) * mul, (z + _fetch(data, size - 24)) * mul
    return _combine(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, mul)


def _longer(data: bytes, size: int) -> int:
    """Blocks of 64 bytes run through a state of seven words; the last block overlaps the one before it."""
    x, y = _SEED, (_SEED * _K1 + 113) & _MASK
    z = _mix(y * _K2 + 113 & _MASK) * _K2
    v, w = (0, 0), (0, 0)
    x = x * _K2 + _fetch(data, 0)
    end = (size - 1) // 64 * 64
    for at in range(0, end, 64):
        x = _rotate(x + y + v[0] + _fetch(data, at + 8), 37) * _K1 & _MASK
        y = _rotate(y + v[1] + _fetch(data, at + 48), 42) * _K1 & _MASK
        x ^= w[1]
        y += v[0] + _fetch(data, at + 40)
        z = _rotate(z + w[0], 33) * _K1 & _MASK
        v = _weak_32(data, at, v[1] * _K1, x + w[0])
        w = _weak_32(data, at + 32, z + w[1], y + _fetch(data, at + 16))
        z, x = x, z
    return _finish(data, size, (x, y & _MASK, z, v, w))


def _finish(data: bytes, size: int, state: tuple[int, int, int, tuple[int, int], tuple[int, int]]) -> int:
    x, y, z, v, w = state
    mul = (_K1 + ((z & 0xFF) << 1)) & _MASK
    at = size - 64
    w = ((w[0] + ((size - 1) & 63)) & _MASK, w[1])
    v = ((v[0] + w[0]) & _MASK, v[1])
    w = ((w[0] + v[0]) & _MASK, w[1])
    x = _rotate(x + y + v[0] + _fetch(data, at + 8), 37) * mul & _MASK
    y = _rotate(y + v[1] + _fetch(data, at + 48), 42) * mul & _MASK
    x ^= w[1] * 9 & _MASK
    y = (y + v[0] * 9 + _fetch(data, at + 40)) & _MASK
    z = _rotate(z + w[0], 33) * mul & _MASK
    v = _weak_32(data, at, v[1] * mul, x + w[0])
    w = _weak_32(data, at + 32, z + w[1], y + _fetch(data, at + 16))
    z, x = x, z
    first = _combine(v[0], w[0], mul) + _mix(y) * _K0 + z
    return _combine(first & _MASK, (_combine(v[1], w[1], mul) + x) & _MASK, mul)


def _weak_32(data: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    first, second, third, fourth = (_fetch(data, at + 8 * i) for i in range(4))
    a = (a + first) & _MASK
    b = _rotate(b + a + fourth, 21)
    c = a
    a = (a + second + third) & _MASK
    return (a + fourth) & _MASK, (b + _rotate(a, 44) + c) & _MASK
