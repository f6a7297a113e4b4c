"""Tiny random checkpoints of many architectures, built from their configurations."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification, PreTrainedTokenizerFast

BOS, PAD, EOS, UNK = range(4)
WORDS = "what is a re rank of query document about cats dogs tea bread long short why how the cat dog sat mat".split()
SIZES = {  # the names that configurations have for the same few sizes
    **dict.fromkeys(
        ("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size", "word_embed_proj_dim"), 32
    ),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "num_heads", "n_head", "n_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("intermediate_size", "d_ff", "n_inner", "hidden_dim", "ffn_dim", "encoder_ffn_dim"), 48),
    **dict.fromkeys(("decoder_ffn_dim", "ffn_hidden_size"), 48),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 48),
    "num_key_value_heads": 2,
    "d_kv": 8,
    "head_dim": 8,
    "num_experts": 4,
    "num_local_experts": 4,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "vocab_size": 64,
    "type_vocab_size": 1,
}
OTHERS: dict[str, dict[str, Any]] = {  # what an architecture needs besides
    "bert": {"type_vocab_size": 2},
    "canine": {"type_vocab_size": 2, "num_hash_buckets": 64},
    "ctrl": {"dff": 48},
    "ernie": {"type_vocab_size": 2},
    "gptj": {"rotary_dim": 8},
    "lilt": {"hidden_size": 48, "max_2d_position_embeddings": 16, "channel_shrink_ratio": 1},
    "longformer": {"attention_window": 8},
    "luke": {"entity_vocab_size": 8, "entity_emb_size": 8},
    "modernbert": {"local_attention": 8},
    "t5": {"decoder_start_token_id": PAD},
    "umt5": {"decoder_start_token_id": PAD},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
}
ENCODERS = """
    albert bart bert big_bird biogpt camembert canine convbert data2vec-text deberta deberta-v2 distilbert electra ernie
    esm flaubert fnet ibert layoutlm lilt longformer luke markuplm mbart megatron-bert mobilebert modernbert mpnet mvp
    nystromformer plbart rembert roberta roberta-prelayernorm roformer squeezebert t5 tapas umt5 xlm xlm-roberta
    xlm-roberta-xl xlnet xmod yoso
""".split()
DECODERS = """
    bloom ctrl diffllama falcon gemma gemma2 glm gpt2 gpt_bigcode gpt_neox gptj helium llama ministral mistral mixtral
    mpt nemotron olmo openai-gpt opt persimmon phi phi3 qwen2 qwen2_moe qwen3 smollm3 stablelm starcoder2
""".split()


def make_tokenizer(template: str, **settings) -> PreTrainedTokenizerFast:
    """Of the form `<s> $A </s> $B </s>`; it states no maximum of its own."""
    words = ["<s>", "<pad>", "</s>", "<unk>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair=template, special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    special = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>"}
    inputs = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **special | settings)


def make_config(kind: str, **settings):
    plain = CONFIG_MAPPING[kind]()
    known = {name: size for name, size in SIZES.items() if name in plain.to_dict() or name in plain.attribute_map}
    known |= {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS, "num_labels": 1}
    return CONFIG_MAPPING[kind](**known | OTHERS.get(kind, {}) | settings)


def make_folder(folder: Path, kind: str, tokenizer: PreTrainedTokenizerFast, **settings) -> Path:
    """A `…ForSequenceClassification` whose weights are large enough for scores to differ well beyond rounding."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(make_config(kind, **settings))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() > 1 and weights.is_floating_point():
                weights.normal_(0, 1.0 if "embed" in name or "wte" in name else 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
