"""Small random checkpoints in the layouts that rerankers have on the model hub: files, names, templates, modules."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

WORDS = "what is a re rank of query document about cats dogs tea bread long short why how the cat dog sat mat".split()
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 1024,
    "initializer_range": 0.3,
}
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = CHATML.removesuffix("{% endif %}") + (
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
OWN_CODE = "raise SystemExit('code of a model was run')\n"


def spread(model: Any) -> Any:
    """Draw weights so large that scores differ well beyond rounding."""
    with torch.no_grad():
        for name, weights in model.named_parameters():
            weights.normal_(1.0 if "norm" in name.lower() and "weight" in name else 0.0, 0.3)
    return model.eval()


def byte_pairs(special: list[str], split: Any = None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    steps = [pre_tokenizers.Split(Regex(split), "isolated")] if split else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not split)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    text = "yes no Yes No ?\n .\n \n\n <Query>: <Document>: " + " ".join(WORDS)
    tokenizer.train_from_iterator(["yes", "no", "Yes", "?\n"] + [text] * 9, trainer)
    return tokenizer


def qwen_tokenizer(template: str, **settings: Any) -> PreTrainedTokenizerFast:
    tokenizer = byte_pairs(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], QWEN_SPLIT)
    tokenizer.add_tokens(["<think>", "</think>"])
    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": template}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=131072, **special | settings)


def bos_tokenizer(**settings: Any) -> PreTrainedTokenizerFast:
    """Gemma's and MiniCPM's kind: a text begins with a token of its own; no chat template."""
    tokenizer = byte_pairs(["<pad>", "<eos>", "<bos>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special | settings)


def causal_folder(folder: Path, kind: Any, tokenizer: PreTrainedTokenizerFast, **settings: Any) -> Path:
    """A `…ForCausalLM` as Qwen3-Reranker, mxbai-rerank-v2 and bge-reranker-v2-gemma are."""
    torch.manual_seed(0)
    config = kind.config_class(
        **SIZES | {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id} | settings
    )
    model: Any = spread(kind(config))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# -- encoders ---------------------------------------------------------------------------------------------------------


SMALL = {key: value for key, value in SIZES.items() if key not in ("num_key_value_heads", "head_dim")}
SMALL |= {"max_position_embeddings": 64, "pad_token_id": 1, "num_labels": 1}
ETTIN = ("Pooling", "Dense", "LayerNorm", "scores")
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "modernbert": {"local_attention": 8},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0},
    "xlm-roberta": {"type_vocab_size": 1},
    "electra": {"embedding_size": 32},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "gemma": {"num_key_value_heads": 2, "head_dim": 8},
    "llama": {"num_key_value_heads": 2},
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 1},
}


def words_tokenizer(pair: str = "<s> $A </s> $B </s>", **settings: Any) -> PreTrainedTokenizerFast:
    words = ["<s>", "<pad>", "</s>", "<unk>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair=pair, special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    special = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>", "bos_token": "<s>"}
    inputs = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=inputs, **{"model_max_length": 60} | special | settings
    )


def classifier_folder(folder: Path, kind: str, side: str = "right") -> Path:
    """A `…ForSequenceClassification` of one of ARCHITECTURES."""
    from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification

    torch.manual_seed(0)
    vocabulary = {"vocab_size": 64, "eos_token_id": 2, "bos_token_id": 0}
    config = CONFIG_MAPPING[kind](**SMALL | vocabulary | ARCHITECTURES[kind])
    spread(AutoModelForSequenceClassification.from_config(config)).save_pretrained(folder)
    words_tokenizer(padding_side=side).save_pretrained(folder)
    return folder


def modular_folder(
    folder: Path,
    names: Sequence[str],
    *,
    side: str = "right",
    prompts: Mapping[str, str] | None = None,
    activation: str = "torch.nn.modules.linear.Identity",
) -> Path:
    """A ModernBERT with a head of modules, as the Ettin rerankers are."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
    from transformers import ModernBertConfig, ModernBertModel

    torch.manual_seed(0)
    backbone = folder.parent / "backbone"
    small = {key: value for key, value in SMALL.items() if key != "num_labels"}  # an encoder names no labels
    config = ModernBertConfig(**small | {"vocab_size": 64, "local_attention": 8, "initializer_range": 0.3})
    spread(ModernBertModel(config)).save_pretrained(backbone)
    words_tokenizer(padding_side=side).save_pretrained(backbone)
    identity = torch.nn.Identity()
    modules = {
        "Pooling": lambda: Pooling(32, pooling_mode="cls"),
        "mean": lambda: Pooling(32, pooling_mode="mean"),
        "Dense": lambda: Dense(32, 32, bias=False, activation_function=torch.nn.GELU()),
        "LayerNorm": lambda: LayerNorm(32),
        "scores": lambda: Dense(32, 1, activation_function=identity, module_output_name="scores"),
    }
    chain = [Transformer(str(backbone)), *(spread(modules[name]()) for name in names)]
    named = {"prompts": prompts, "default_prompt_name": next(iter(prompts))} if prompts else {}
    model = CrossEncoder(modules=chain, device="cpu", **named)
    model.save_pretrained(str(folder))
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"activation_fn": activation}))
    return folder


# -- models with code of their own ------------------------------------------------------------------------------------


def jina_folder(folder: Path) -> tuple[Path, Any]:
    """jina-reranker-v2: an XLM-RoBERTa by flash-attn's names; and that XLM-RoBERTa."""
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    torch.manual_seed(0)
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0)]
    tokenizer = Tokenizer(models.Unigram([*special, *_pieces()], 3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    named_tokens = {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
    }
    words = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", model_max_length=1024, **named_tokens
    )
    words.save_pretrained(folder)
    shape = {"max_position_embeddings": 66, "type_vocab_size": 1, "num_labels": 1, "pad_token_id": 1}
    small = {key: value for key, value in SIZES.items() if key not in ("num_key_value_heads", "head_dim")}
    config = XLMRobertaConfig(**small | shape | {"vocab_size": len(words), "layer_norm_eps": 1e-5})
    model = spread(XLMRobertaForSequenceClassification(config))
    save_file(_by_flash_names(model.state_dict()), folder / "model.safetensors", metadata={"format": "pt"})
    named = {
        "architectures": ["XLMRobertaForSequenceClassification"],
        "auto_map": {
            "AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig",
            "AutoModel": "modeling_xlm_roberta.XLMRobertaModel",
            "AutoModelForSequenceClassification": "modeling_xlm_roberta.XLMRobertaForSequenceClassification",
        },
        "attention_probs_dropout_prob": 0.1,
        "hidden_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "emb_pooler": None,
        "classifier_dropout": None,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "layer_norm_eps": 1e-5,
        "position_embedding_type": "absolute",
        "torch_dtype": "bfloat16",
        "use_cache": False,
        "use_flash_attn": True,
        "vocab_size": len(words),
    }
    (folder / "config.json").write_text(json.dumps(small | shape | named, indent=2))
    for name in ("configuration_xlm_roberta.py", "modeling_xlm_roberta.py"):
        (folder / name).write_text(OWN_CODE)
    return folder, model


def _pieces() -> list[tuple[str, float]]:
    letters = [chr(code) for code in range(33, 127)]
    return [(piece, -3.0) for piece in dict.fromkeys(["▁", *(f"▁{word}" for word in WORDS), *letters])]


def _by_flash_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    made = {}
    for key, value in weights.items():
        if ".attention.self." not in key:
            for old, new in (
                ("embeddings.LayerNorm", "emb_ln"),
                ("encoder.layer.", "encoder.layers."),
                ("attention.output.dense", "mixer.out_proj"),
                ("attention.output.LayerNorm", "norm1"),
                ("intermediate.dense", "mlp.fc1"),
                ("output.dense", "mlp.fc2"),
                ("output.LayerNorm", "norm2"),
            ):
                key = key.replace(old, new)
            made[key] = value.contiguous()
        elif ".query." in key:
            parts = [weights[key.replace("query", name)] for name in ("query", "key", "value")]
            place = key.replace("encoder.layer.", "encoder.layers.").replace("attention.self.query", "mixer.Wqkv")
            made[place] = torch.cat(parts)
    return made


def minicpm_folder(folder: Path, layers: int = 4, first: int = 2) -> Path:
    """bge-reranker-v2-minicpm-layerwise: a MiniCPM with a head of one row behind each upper layer."""
    torch.manual_seed(0)
    tokenizer = bos_tokenizer()
    tokenizer.save_pretrained(folder)
    width, inner, size = 32, 48, len(tokenizer)
    shapes = {"model.embed_tokens.weight": (size, width), "model.norm.weight": (width,)}
    for n in range(layers):
        part = f"model.layers.{n}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes[f"{part}.self_attn.{name}.weight"] = (width, width)
        shapes[f"{part}.mlp.gate_proj.weight"] = shapes[f"{part}.mlp.up_proj.weight"] = (inner, width)
        shapes[f"{part}.mlp.down_proj.weight"] = (width, inner)
        shapes[f"{part}.input_layernorm.weight"] = shapes[f"{part}.post_attention_layernorm.weight"] = (width,)
    shapes |= {f"lm_head.{n}.linear_head.weight": (1, width) for n in range(layers + 1 - first)}
    weights = {key: torch.randn(shape) * 0.2 + ("norm" in key) for key, shape in shapes.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    settings = {
        "architectures": ["LayerWiseMiniCPMForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_minicpm_reranker.LayerWiseMiniCPMConfig",
            "AutoModel": "modeling_minicpm_reranker.LayerWiseMiniCPMModel",
            "AutoModelForCausalLM": "modeling_minicpm_reranker.LayerWiseMiniCPMForCausalLM",
        },
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 2,
        "dim_model_base": 8,
        "eos_token_id": 1,
        "head_multi": True,
        "head_type": "simple",
        "hidden_act": "silu",
        "hidden_size": width,
        "initializer_range": 0.1,
        "intermediate_size": inner,
        "max_position_embeddings": 1024,
        "model_type": "minicpm",
        "num_attention_heads": 4,
        "num_hidden_layers": layers,
        "num_key_value_heads": 4,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "scale_depth": 1.4,
        "scale_emb": 12,
        "start_layer": first,
        "torch_dtype": "bfloat16",
        "use_cache": False,
        "vocab_size": size,
    }
    (folder / "config.json").write_text(json.dumps(settings, indent=2))
    for name in ("configuration_minicpm_reranker.py", "modeling_minicpm_reranker.py"):
        (folder / name).write_text(OWN_CODE)
    return folder


# -- late interaction -------------------------------------------------------------------------------------------------

MARKS = {"query": "[Q] ", "document": "[D] "}
LENGTHS = {"query": 12, "document": 40}


def pylate_folder(folder: Path, tokenizer: Any, tiny_bert: Any, *, old: bool = False) -> Path:
    """A ColBERT as PyLate saves it; `old`: beside sentence-transformers 4, as GTE-ModernColBERT-v1 was saved."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    tokenizer.save_pretrained(folder)
    tokenizer = type(tokenizer).from_pretrained(folder)
    tokenizer.add_tokens(list(MARKS.values()))
    tokenizer.save_pretrained(folder)
    config = BertConfig(**tiny_bert.to_dict() | {"vocab_size": len(tokenizer)})
    BertModel(config).save_pretrained(folder)
    files: dict[str, Any] = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
        ],
        "sentence_bert_config.json": {"max_seq_length": LENGTHS["document"] - 1, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "__version__": {"sentence_transformers": "4.0.2" if old else "5.1.1", "transformers": "4.48.2"},
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "MaxSim",
            "query_prefix": MARKS["query"],
            "document_prefix": MARKS["document"],
            "query_length": LENGTHS["query"],
            "document_length": LENGTHS["document"],
            "attend_to_expansion_tokens": False,
            "skiplist_words": ["mat", ".", "?"],
            **({} if old else {"model_type": "ColBERT"}),
        },
        "1_Dense/config.json": {
            "in_features": 16,
            "out_features": 8,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    }
    (folder / "1_Dense").mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2))
    save_file({"linear.weight": torch.randn(8, 16)}, folder / "1_Dense" / "model.safetensors")
    return folder


STANFORD_MARKS = {"query": "[unused0]", "document": "[unused1]"}


def stanford_folder(folder: Path, tokenizer: Any, tiny_bert: Any) -> Path:
    """A ColBERT as Stanford's library saves it: encoder and projection in one file, lengths in artifact.metadata."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    (folder / "vocab.txt").write_text("\n".join([*words, *STANFORD_MARKS.values()]))
    type(tokenizer)(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    body = BertModel(BertConfig(**tiny_bert.to_dict() | {"vocab_size": len(words) + 2}))
    body.config.save_pretrained(folder)
    weights = {f"bert.{key}": value.contiguous() for key, value in body.state_dict().items()}
    weights["linear.weight"] = torch.randn(8, 16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["HF_ColBERT"]}))
    lengths = {"query_maxlen": LENGTHS["query"], "doc_maxlen": LENGTHS["document"]}
    marks = {"query_token_id": STANFORD_MARKS["query"], "doc_token_id": STANFORD_MARKS["document"]}
    others = {"mask_punctuation": True, "attend_to_mask_tokens": False, "dim": 8, "similarity": "cosine"}
    (folder / "artifact.metadata").write_text(json.dumps(lengths | marks | others))
    return folder
