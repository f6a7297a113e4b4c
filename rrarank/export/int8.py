"""Quantize linear layers to int8 for export: one scale per output for weights, one scale per token for activations.

`onnxruntime.quantization` uses one activation scale per batch. A scale per token keeps a pair's score independent of
the rest of its batch, and changes the ranking far less. Inputs are smoothed before rounding: each input dimension is
divided by a factor and its weights are multiplied by the same factor (SmoothQuant, Xiao et al., 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.onnx.ops import symbolic

LEVELS = 127  # symmetric: -127 … 127
ZERO_POINT = 128  # the uint8 value that stands for 0
MIGRATION = 0.5  # SmoothQuant's alpha: how much of the difficulty moves to the weights; its authors use 0.5
TINY = 1e-8  # lower bound of scales: an all-zero row must not get scale 0


def quantize(model: nn.Module, chosen: Callable[[str], bool], backend: str, run: Callable[[], object]) -> None:
    """Replace linear layers of a model by int8 ones, in place.

    Args:
        chosen: tells by name which linear layers to replace.
        backend: `onnx` or `openvino`; each expresses int8 in its own way.
        run: runs the model on typical inputs.
    """
    linears = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear) and chosen(name)}
    with _largest_inputs(linears) as largest:
        run()
    for name, linear in linears.items():
        holder, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(holder), attribute, _CLASSES[backend](linear, largest[name]))


@contextmanager
def _largest_inputs(linears: dict[str, nn.Linear]) -> Iterator[dict[str, Tensor]]:
    """Layer name -> (inputs,): the largest magnitude of each input seen while the block runs."""
    largest = {name: torch.zeros(linear.in_features) for name, linear in linears.items()}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen = inputs[0].detach().abs().flatten(0, -2).amax(0)
            largest[name] = torch.maximum(largest[name], seen)

        return see

    hooks = [linear.register_forward_pre_hook(watch(name)) for name, linear in linears.items()]
    try:
        yield largest
    finally:
        for hook in hooks:
            hook.remove()


class _Int8(nn.Module):
    """int8 weights, their scales and the smoothing factors."""

    def __init__(self, linear: nn.Linear, largest: Tensor) -> None:
        super().__init__()
        weight = linear.weight.detach()  # (outputs, inputs)
        of_weights = weight.abs().amax(0).clamp(min=TINY)
        factors = (largest.clamp(min=TINY) ** MIGRATION / of_weights ** (1 - MIGRATION)).clamp(TINY)  # (inputs,)
        scales = (weight * factors).abs().amax(1).clamp(min=TINY) / LEVELS
        rounded = (weight * factors / scales[:, None]).round().to(torch.int8)
        self.weight = nn.Buffer(rounded.T.contiguous())  # (inputs, outputs)
        self.scales, self.smoothing = nn.Buffer(scales), nn.Buffer(1 / factors)
        self.bias = nn.Buffer(torch.zeros(len(scales)) if linear.bias is None else linear.bias.detach())


class _OnnxInt8(_Int8):
    """Quantize each token, multiply as integers, scale back."""

    def __init__(self, linear: nn.Linear, largest: Tensor) -> None:
        super().__init__(linear, largest)
        self.zero_point = nn.Buffer(torch.tensor(ZERO_POINT, dtype=torch.uint8))  # x86 has fast code for uint8 * int8
        self.one = nn.Buffer(torch.tensor(1.0))

    def forward(self, states: Tensor) -> Tensor:
        tokens = (states * self.smoothing).flatten(0, -2)  # (tokens, inputs)
        steps = tokens.abs().amax(1) / LEVELS + TINY  # (tokens,)
        rounded = symbolic(
            "QuantizeLinear",
            (tokens, steps, torch.full_like(steps, ZERO_POINT, dtype=torch.uint8)),
            {"axis": 0},
            dtype=torch.uint8,
            shape=tokens.shape,
        )
        product = symbolic(
            "com.microsoft::MatMulIntegerToFloat",
            (rounded, self.weight, self.one, self.scales, self.zero_point),
            dtype=torch.float32,
            shape=(len(steps), len(self.scales)),
            version=1,
        )
        return (product * steps[:, None] + self.bias).view(*states.shape[:-1], len(self.scales))


class _OpenvinoInt8(_Int8):
    """Mark the weights as int8; OpenVINO quantizes activations itself where the processor gains from it."""

    def __init__(self, linear: nn.Linear, largest: Tensor) -> None:
        super().__init__(linear, largest)
        self.zero_point = nn.Buffer(torch.zeros(len(self.scales), dtype=torch.int8))

    def forward(self, states: Tensor) -> Tensor:
        weight = symbolic(
            "DequantizeLinear",
            (self.weight, self.scales, self.zero_point),
            {"axis": 1},
            dtype=torch.float32,
            shape=self.weight.shape,
        )
        return (states * self.smoothing) @ weight + self.bias


_CLASSES = {"onnx": _OnnxInt8, "openvino": _OpenvinoInt8}
