"""A batch survives its way as bytes: every type, dtype and shape, with memory of its own."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.data.wire import decode, encode

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.bool,
    torch.complex64,
]
SHAPES = [(), (1,), (5,), (2, 3), (2, 0, 3), (0,), (1, 1, 1, 1)]


class Pair(NamedTuple):
    image: torch.Tensor
    label: int


@dataclass
class Graph:
    nodes: torch.Tensor
    name: str


class OwnTensor(torch.Tensor):
    """A subclass, as torchvision's tv_tensors are."""


def sent(batch: Any) -> Any:
    """What arrives; the object store hands out read-only memory."""
    head, buffers = encode(batch)
    return decode(memoryview(head), [memoryview(buffer) for buffer in buffers])


def made(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return (torch.randn(shape) * 20).to(dtype)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


@pytest.mark.filterwarnings("ignore:Casting complex")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_tensor_arrives_with_its_dtype_its_shape_and_its_bits(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    tensor = made(shape, dtype)
    arrived = sent(tensor)
    assert type(arrived) is torch.Tensor
    assert arrived.dtype == dtype
    assert arrived.shape == tensor.shape
    assert bits(arrived) == bits(tensor)


def test_numbers_that_are_none_arrive_to_the_bit() -> None:
    tensor = torch.tensor([float("nan"), float("inf"), -0.0, 5e-324], dtype=torch.float64)
    assert bits(sent(tensor)) == bits(tensor)


@pytest.mark.parametrize(
    "view",
    [
        torch.arange(12.0).reshape(3, 4).T,
        torch.arange(12.0)[::3],
        torch.arange(12.0).reshape(3, 4)[:, 1],
        torch.arange(12.0).reshape(3, 4)[1:2, 1],
        torch.ones(1).expand(4, 5),
        torch.arange(12.0)[5:7],
        torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
        torch.tensor([1 + 2j, 3 - 4j]).conj(),
        torch.tensor([1 + 2j, 3 - 4j]).conj().imag,
    ],
    ids=[
        "transposed",
        "strided",
        "column",
        "one of a column",
        "expanded",
        "slice",
        "channels last",
        "conjugate",
        "negative",
    ],
)
def test_a_view_arrives_as_what_it_shows(view: torch.Tensor) -> None:
    arrived = sent(view)
    assert torch.equal(arrived, view)
    assert arrived.dtype == view.dtype


def test_a_slice_does_not_carry_the_tensor_it_was_cut_from() -> None:
    head, buffers = encode(torch.zeros(1_000_000)[:10])
    assert len(head) + sum(len(buffer) for buffer in buffers) < 2000


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_that_arrive_can_be_written_to_and_own_their_memory(dtype: torch.dtype) -> None:
    tensor = torch.ones(4, dtype=dtype)
    head, buffers = encode(tensor)
    first, second = decode(head, buffers), decode(head, buffers)
    first.zero_()
    assert torch.equal(second, tensor)
    assert torch.equal(tensor, torch.ones(4, dtype=dtype))
    assert torch.equal(decode(head, buffers), tensor)


def test_arrays_that_arrive_can_be_written_to() -> None:
    array = np.arange(6).reshape(2, 3)
    arrived = sent(array)
    arrived[0, 0] = 99
    assert array[0, 0] == 0


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int64).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(10)[::2],
        np.array(3.5),
        np.zeros((0, 4)),
        np.array(["a", "bc"]),
        np.array([b"a", None, {"x": 1}], dtype=object),
        np.array(["2024-01-01"], dtype="datetime64[D]"),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    ],
    ids=["int", "fortran", "strided", "scalar", "empty", "text", "objects", "dates", "records"],
)
def test_an_array_arrives_equal(array: np.ndarray[Any, Any]) -> None:
    arrived = sent(array)
    assert arrived.dtype == array.dtype
    assert arrived.shape == array.shape
    assert arrived.tolist() == array.tolist()


def test_a_nested_batch_arrives_with_its_containers() -> None:
    batch = {
        "pair": Pair(torch.arange(3), 7),
        "list": [torch.tensor(1.5), np.float32(2.5), None],
        "tuple": ("text", b"bytes", True, 3, 2.5, 1j),
        "graph": Graph(torch.ones(2, dtype=torch.bool), "ring"),
        3: {"deep": [[{"er": torch.zeros(0, 4)}]]},
        "set": frozenset({1, 2}),
    }
    arrived = sent(batch)
    assert list(arrived) == list(batch)
    assert type(arrived["pair"]) is Pair
    assert arrived["pair"].image.tolist() == [0, 1, 2]
    assert arrived["pair"].label == 7
    assert arrived["list"][0].item() == 1.5
    assert type(arrived["list"][1]) is np.float32
    assert arrived["list"][2] is None
    assert arrived["tuple"] == batch["tuple"]
    assert arrived["graph"].nodes.tolist() == [True, True]
    assert arrived[3]["deep"][0][0]["er"].shape == (0, 4)
    assert arrived["set"] == {1, 2}


def test_what_is_one_object_in_a_batch_is_one_object_when_it_arrives() -> None:
    tensor = torch.arange(3)
    arrived = sent([tensor, tensor])
    assert arrived[0] is arrived[1]


def test_a_tensor_that_wants_a_gradient_still_wants_it() -> None:
    arrived = sent(torch.ones(3, requires_grad=True))
    assert arrived.requires_grad
    assert arrived.tolist() == [1.0, 1.0, 1.0]


def test_tensors_of_other_kinds_arrive_too() -> None:
    assert type(sent(torch.ones(2).as_subclass(OwnTensor))) is OwnTensor
    assert type(sent(torch.nn.Parameter(torch.ones(2)))) is torch.nn.Parameter
    sparse = torch.eye(3).to_sparse()
    assert torch.equal(sent(sparse).to_dense(), torch.eye(3))


def test_a_function_made_on_the_spot_arrives() -> None:
    assert sent({"scale": lambda x: x * 2})["scale"](4) == 8


def test_large_memory_goes_beside_the_head() -> None:
    head, buffers = encode({"x": torch.zeros(100_000), "y": np.zeros(100_000)})
    assert len(head) < 2000
    assert sorted(len(buffer) for buffer in buffers) == [400_000, 800_000]


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5)
)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner, inner)
            | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_any_nesting_of_plain_values_arrives_equal(batch: Any) -> None:
    assert sent(batch) == batch


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(SHAPES), max_size=6), st.randoms(use_true_random=False))
def test_any_number_of_tensors_arrives_in_order(
    shapes: list[tuple[int, ...]], generator: random.Random
) -> None:
    tensors = [made(shape, generator.choice(DTYPES[:5])) for shape in shapes]
    arrived = sent(tensors)
    assert [bits(tensor) for tensor in arrived] == [bits(tensor) for tensor in tensors]
