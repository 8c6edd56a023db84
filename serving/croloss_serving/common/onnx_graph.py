"""What an ONNX graph reads from other files: nothing may."""

from __future__ import annotations

from collections.abc import Iterator

#: The messages of ONNX that may hold tensors: for each its fields that are messages in turn.
_MESSAGES = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
#: Fields of a tensor that say that its numbers are in another file: external_data, data_location.
_ELSEWHERE = (13, 14)
_DEEPEST = 64


def check_self_contained(content: bytes) -> None:
    """Refuse a model whose tensors are in other files: onnxruntime would read what nobody has checked.

    Raises:
        ValueError: it is such a model, or no ONNX at all.
    """
    view = memoryview(content)
    waiting = [("model", 0, len(view), 0)]
    while waiting:
        message, begin, end, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError("its graphs are nested too deeply")
        for field, start, stop in _fields(view, begin, end):
            if message == "tensor" and field in _ELSEWHERE and view[start:stop].tobytes() != b"\0":
                raise ValueError("its weights are in another file")
            if field in _MESSAGES[message]:
                waiting.append((_MESSAGES[message][field], start, stop, depth + 1))


def _fields(view: memoryview, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each field of a message, and where its content begins and ends."""
    while position < end:
        tag, position = _varint(view, position, end)
        start, kind = position, tag & 7
        if kind == 0:
            _, position = _varint(view, position, end)
        elif kind == 2:
            length, start = _varint(view, position, end)
            position = start + length
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise ValueError("it is not ONNX")
        if position > end:
            raise ValueError("it is not ONNX")
        yield tag >> 3, start, position


def _varint(view: memoryview, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = view[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
    raise ValueError("it is not ONNX")
