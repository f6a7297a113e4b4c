import pytest
import torch
from transformers import AutoModelForSequenceClassification

from rrarank.rerankers.backends.padded_bert import PaddedBert


@pytest.mark.parametrize("labels", [1, 2])
@torch.inference_mode()
def test_logits_are_transformers_own_of_each_row_alone(labels, make_cross_encoder):
    model = AutoModelForSequenceClassification.from_pretrained(make_cross_encoder(labels)).eval()
    generator = torch.Generator().manual_seed(0)
    lengths = [12, 3, 30, 7]
    ids, mask, segments = (torch.zeros(4, 30, dtype=torch.long) for _ in range(3))
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(5, 60, (length,), generator=generator)
        mask[row, :length], segments[row, length // 2 : length] = 1, 1
    together = PaddedBert(model)(ids, mask, segments)
    for row, length in enumerate(lengths):
        own = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
        alone = model(**{name: value[row : row + 1, :length] for name, value in own.items()}).logits[0]
        torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=1e-5)
