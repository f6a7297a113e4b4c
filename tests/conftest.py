"""Tiny models made here, real data where it lies beside the project, no network."""

import os
import shutil
import signal

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a job in the background: the processes that we start would
    signal.signal(signal.SIGINT, signal.default_int_handler)  # inherit it, and tests interrupt some of them

import json
from pathlib import Path

import pytest

WORDS = "what is a re rank of query document about cats dogs tea bread long short why how the cat dog sat mat".split()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real TREC data beside the project."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the project")
    return folder


@pytest.fixture
def no_endpoint(monkeypatch):
    """No variable names an LLM's endpoint, its key, or a proxy."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    from transformers import BertTokenizerFast

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    path = tmp_path_factory.mktemp("tokenizer") / "vocab.txt"
    path.write_text("\n".join(dict.fromkeys(vocab)))
    return BertTokenizerFast(str(path), model_max_length=64)


@pytest.fixture(scope="session")
def tiny_bert(tokenizer):
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,  # so that scores differ well beyond rounding
    )


@pytest.fixture(scope="session")
def make_cross_encoder(tmp_path_factory, tokenizer, tiny_bert):
    """A folder with a tiny BERT sequence classifier of that many labels."""

    def make(labels: int) -> Path:
        import torch
        from transformers import BertForSequenceClassification

        torch.manual_seed(labels)
        folder = tmp_path_factory.mktemp(f"cross-encoder-{labels}")
        tiny_bert.num_labels = labels
        BertForSequenceClassification(tiny_bert).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def cross_encoder_folder(make_cross_encoder) -> Path:
    return make_cross_encoder(1)


@pytest.fixture(scope="session")
def steady_folder(tmp_path_factory, tokenizer, tiny_bert) -> Path:
    """A tiny cross-encoder whose order survives rounding: its weights are smaller than `cross_encoder_folder`'s."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("steady")
    config = BertConfig(**tiny_bert.to_dict() | {"initializer_range": 0.35, "num_labels": 1})
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def exported_folder(tmp_path_factory, steady_folder) -> Path:
    """The same with every export beside it."""
    return _with_exports(str(steady_folder), tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture(scope="session")
def exported_sparse_folder(tmp_path_factory) -> Path:
    """The sparse encoder that ships with every export beside it: random weights would not rank alike in int8."""
    return _with_exports("rra-bert-tiny", tmp_path_factory.mktemp("exported-sparse") / "model")


def _with_exports(model: str, folder: Path) -> Path:
    from rrarank.export.__main__ import main

    for library in ("onnxruntime", "onnxscript", "openvino"):
        pytest.importorskip(library, reason="the extras `onnx` and `openvino` are not installed")
    for backend, precisions in {"onnx": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8")}.items():
        for precision in precisions:
            flags = ["--model", model, "--output", str(folder)]
            assert main([*flags, "--backend", backend, "--precision", precision]) == 0
    return folder


@pytest.fixture(scope="session")
def bi_encoder_folder(tmp_path_factory, tokenizer, tiny_bert) -> Path:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertModel

    torch.manual_seed(0)
    backbone = tmp_path_factory.mktemp("backbone")
    BertModel(tiny_bert).save_pretrained(backbone)
    tokenizer.save_pretrained(backbone)
    folder = tmp_path_factory.mktemp("bi-encoder")
    transformer = Transformer(str(backbone))
    SentenceTransformer(modules=[transformer, Pooling(16)], device="cpu").save(str(folder))
    return folder


@pytest.fixture(scope="session")
def another_bi_encoder_folder(tmp_path_factory, bi_encoder_folder, tiny_bert) -> Path:
    """The same with other weights."""
    from transformers import BertModel

    folder = shutil.copytree(bi_encoder_folder, tmp_path_factory.mktemp("another") / "bi-encoder")
    BertModel(tiny_bert).save_pretrained(folder)
    return Path(folder)


@pytest.fixture(scope="session")
def sparse_encoder_folder(tmp_path_factory, tokenizer, tiny_bert) -> Path:
    """A tiny SPLADE as sentence-transformers saves it."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import SpladePooling, Transformer
    from transformers import BertForMaskedLM

    torch.manual_seed(0)
    model = BertForMaskedLM(tiny_bert)
    torch.nn.init.normal_(model.cls.predictions.bias, 0.0, 0.5)  # a fresh model's are noughts
    backbone, folder = tmp_path_factory.mktemp("masked-lm"), tmp_path_factory.mktemp("sparse-encoder")
    model.save_pretrained(backbone)
    tokenizer.save_pretrained(backbone)
    modules = [Transformer(str(backbone), transformer_task="fill-mask"), SpladePooling()]
    SparseEncoder(modules=modules, device="cpu").save(str(folder))
    return folder


@pytest.fixture(scope="session")
def late_interaction_folder(tmp_path_factory, tokenizer, tiny_bert) -> Path:
    """A tiny ColBERT as sentence-transformers saves it."""
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from transformers import BertModel

    torch.manual_seed(0)
    backbone, folder = tmp_path_factory.mktemp("backbone"), tmp_path_factory.mktemp("late-interaction")
    BertModel(tiny_bert).save_pretrained(backbone)
    tokenizer.save_pretrained(backbone)
    body = Transformer(str(backbone), query_length=16, document_length=32)
    head = Dense(16, 8, bias=False, activation_function=None, module_input_name="token_embeddings")
    modules = [body, head, MultiVectorMask(["mat"]), Normalize(module_input_name="token_embeddings")]
    MultiVectorEncoder(modules=modules, device="cpu").save(str(folder))
    return folder


@pytest.fixture(scope="session")
def t5_folder(tmp_path_factory) -> Path:
    """A tiny T5 that knows the words of MonoT5's prompt and answers."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    letters = [chr(code) for code in range(33, 127)]
    pieces = ["▁true", "▁false", "▁Query", "▁Document", "▁Relevant", "▁", *(f"▁{word}" for word in WORDS), *letters]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *((piece, -3.0) for piece in dict.fromkeys(pieces))]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder: Path = tmp_path_factory.mktemp("t5")
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    config = T5Config(vocab_size=len(vocabulary), decoder_start_token_id=0, initializer_factor=2.0, **sizes)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def decoder_folder(tmp_path_factory) -> Path:
    """A tiny Llama to which " Yes" and " No" are one token each."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<eos>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(["Say Yes Yes No No " + " ".join(WORDS)] * 9, trainer)
    folder: Path = tmp_path_factory.mktemp("decoder")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=400, max_position_embeddings=512, initializer_range=0.5, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def rra_gpt_folder(tmp_path_factory, decoder_folder) -> Path:
    """That Llama as a student with a dense ranking layer, as if it had been trained to give reasons."""
    from rrarank.train.prompted import PromptConfig, prompted
    from rrarank.train.saved_model import save_model

    prompt = PromptConfig("Say.\nQuery: {query}\nPassage: {document}\nYes or No:")
    tokenizer, base, head = prompted(decoder_folder, "decoder", prompt)
    base.config.pad_token_id = tokenizer.pad_token_id
    folder: Path = tmp_path_factory.mktemp("rra-gpt") / "model"
    save_model(base, tokenizer, folder, facts={"recipe": {"reasoning": {"reasons": 0.5}}}, head=head)
    return folder


@pytest.fixture
def make_job(tmp_path, monkeypatch, cross_encoder_folder):
    """make_job(queries): a BM25 run of five hits a query, its topics and texts, in an empty working folder; flags that
    have a tiny cross-encoder re-rank it."""

    def make(queries: int) -> list[str]:
        monkeypatch.chdir(tmp_path)
        numbers = range(1, 6)
        run = (f"{qid} Q0 d{n} {n} {10 - n} bm25\n" for qid in range(queries) for n in numbers)
        texts = (json.dumps({"id": f"d{n}", "contents": "tea " * n + "cat"}) + "\n" for n in numbers)
        Path("bm25.trec").write_text("".join(run))
        Path("topics.tsv").write_text("".join(f"{qid}\twhy cats and dogs {qid}\n" for qid in range(queries)))
        Path("texts.jsonl").write_text("".join(texts))
        flags = ["--run", "bm25.trec", "--topics", "topics.tsv", "--collection", "texts.jsonl", "--device", "cpu"]
        return [*flags, "--reranker", "cross-encoder", "--model", str(cross_encoder_folder)]

    return make


@pytest.fixture
def check_spelt_tokens():
    """Asserts that a special token which a query or text spells adds none to a pair's ids."""

    def check(reranker, query="why is the cat long"):
        special = [str(token) for token in reranker.tokenizer.added_tokens_decoder.values() if token.special]
        assert special
        numbers = reranker.tokenizer.convert_tokens_to_ids([token for token in special if token != "<unk>"])
        [usual] = reranker.encode(query, ["mat"])
        for token in special:
            [spelt] = reranker.encode(f"{query} {token}", [f"mat {token} mat"])
            assert [list(spelt["input_ids"]).count(n) for n in numbers] == [
                list(usual["input_ids"]).count(n) for n in numbers
            ]

    return check
