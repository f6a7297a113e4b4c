"""LoRA adapters (Hu et al., ICLR 2022) by peft; they are merged into the weights when the model is saved."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from rrarank.extras import importing
from rrarank.storage.yaml_settings import STRICT

Positive = Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class LoraConfig:
    """Adapters on every linear layer of the encoder or decoder; the head is trained whole.

    Args:
        rank: of the adapter matrices.
        alpha: their product is scaled by alpha / rank.
    """

    __pydantic_config__: ClassVar = STRICT

    rank: Positive = 16
    alpha: Positive = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


def add_adapters(base: Any, config: LoraConfig) -> None:
    """Add adapters to a `…ForSequenceClassification` in place and freeze everything but adapters and head.

    Raises:
        MissingPrerequisite: peft is not installed.
    """
    with importing():
        import peft
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules="all-linear"
    )
    peft.inject_adapter_in_model(settings, base.base_model)
    of_base = {id(parameter) for parameter in base.base_model.parameters()}
    for parameter in base.parameters():
        parameter.requires_grad_(parameter.requires_grad or id(parameter) not in of_base)


def merged(base: Any) -> Any:
    """A copy with the adapters merged into the weights."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    plain = deepcopy(base)
    for name, module in list(plain.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            plain.set_submodule(name, module.get_base_layer())
    return plain
