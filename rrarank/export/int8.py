"""Linear layers in int8, for export: weights with a scale an output, activations with a scale a token.

A scale a token, and not one for the batch as `onnxruntime.quantization` has it, keeps a pair's score free of what else
is in its batch, and holds far more of the ranking. Before rounding, inputs are evened out: what a dimension is divided
by, its weights are multiplied by (SmoothQuant, Xiao et al., 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.onnx.ops import symbolic

LEVELS = 127  # symmetric: -127 … 127
MIDDLE = 128  # of uint8: what stands for 0
BALANCE = 0.5  # of SmoothQuant: how much of the unevenness goes to the weights; half is its authors' choice
TINY = 1e-8  # keeps scales of what is all zero from being zero


def quantise(model: nn.Module, chosen: Callable[[str], bool], backend: str, run: Callable[[], object]) -> None:
    """Replace the chosen linear layers of a model, in place.

    Args:
        chosen: whether the linear layer of that name is to be replaced.
        backend: `onnx` or `openvino`, each of which has its own way to be told.
        run: runs the model on inputs as it will meet them.
    """
    linears = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear) and chosen(name)}
    with _largest_inputs(linears) as largest:
        run()
    for name, linear in linears.items():
        holder, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(holder), attribute, _CLASSES[backend](linear, largest[name]))


@contextmanager
def _largest_inputs(linears: dict[str, nn.Linear]) -> Iterator[dict[str, Tensor]]:
    """name -> (inputs,), the largest magnitude that each input of a layer has had."""
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
    """What both ways share: int8 weights and their scales, and inputs evened out."""

    def __init__(self, linear: nn.Linear, largest: Tensor) -> None:
        super().__init__()
        weight = linear.weight.detach()  # (outputs, inputs)
        even = (largest.clamp(min=TINY) ** BALANCE / weight.abs().amax(0).clamp(min=TINY) ** (1 - BALANCE)).clamp(TINY)
        scales = (weight * even).abs().amax(1).clamp(min=TINY) / LEVELS
        rounded = (weight * even / scales[:, None]).round().to(torch.int8)
        self.weight = nn.Buffer(rounded.T.contiguous())  # (inputs, outputs)
        self.scales, self.unevenness = nn.Buffer(scales), nn.Buffer(1 / even)
        self.bias = nn.Buffer(torch.zeros(len(scales)) if linear.bias is None else linear.bias.detach())


class _OnnxInt8(_Int8):
    """Tokens are quantised one by one, multiplied as integers, and scaled back."""

    def __init__(self, linear: nn.Linear, largest: Tensor) -> None:
        super().__init__(linear, largest)
        self.middle = nn.Buffer(torch.tensor(MIDDLE, dtype=torch.uint8))  # uint8 by int8 is what has fast code on x86
        self.one = nn.Buffer(torch.tensor(1.0))

    def forward(self, states: Tensor) -> Tensor:
        tokens = (states * self.unevenness).flatten(0, -2)  # (tokens, inputs)
        steps = tokens.abs().amax(1) / LEVELS + TINY  # (tokens,)
        rounded = symbolic(
            "QuantizeLinear",
            (tokens, steps, torch.full_like(steps, MIDDLE, dtype=torch.uint8)),
            {"axis": 0},
            dtype=torch.uint8,
            shape=tokens.shape,
        )
        product = symbolic(
            "com.microsoft::MatMulIntegerToFloat",
            (rounded, self.weight, self.one, self.scales, self.middle),
            dtype=torch.float32,
            shape=(len(steps), len(self.scales)),
            version=1,
        )
        return (product * steps[:, None] + self.bias).view(*states.shape[:-1], len(self.scales))


class _OpenvinoInt8(_Int8):
    """Weights are said to be int8; OpenVINO quantises tokens itself where the processor gains by it."""

    def __init__(self, linear: nn.Linear, largest: Tensor) -> None:
        super().__init__(linear, largest)
        self.middle = nn.Buffer(torch.zeros(len(self.scales), dtype=torch.int8))

    def forward(self, states: Tensor) -> Tensor:
        weight = symbolic(
            "DequantizeLinear",
            (self.weight, self.scales, self.middle),
            {"axis": 1},
            dtype=torch.float32,
            shape=self.weight.shape,
        )
        return (states * self.unevenness) @ weight + self.bias


_CLASSES = {"onnx": _OnnxInt8, "openvino": _OpenvinoInt8}
