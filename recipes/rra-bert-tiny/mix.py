"""Weights between two models: `python mix.py FIRST SECOND OUTPUT [--share .5]` (WiSE-FT, Wortsman et al., 2022)

FIRST and SECOND are model folders, or weights that train.py kept. OUTPUT is a folder; --share is the part of SECOND.
"""

import argparse
from pathlib import Path

from evaluate import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--share", type=float, default=0.5)
    flags = parser.parse_args()
    (tokenizer, first), (_, second) = (load(path) for path in (flags.first, flags.second))
    other = second.state_dict()
    mixed = {name: value.lerp(other[name], flags.share) for name, value in first.state_dict().items()}
    first.load_state_dict(mixed)
    first.save_pretrained(flags.output)
    tokenizer.save_pretrained(flags.output)


if __name__ == "__main__":
    main()
