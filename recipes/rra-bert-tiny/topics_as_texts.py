"""Topics as texts, for embed.py: `python topics_as_texts.py OUTPUT.jsonl TOPICS.tsv`"""

import json
import sys
from pathlib import Path

rows = (line.split("\t", 1) for line in Path(sys.argv[2]).read_text(encoding="utf-8").splitlines())
lines = (json.dumps({"id": qid, "contents": query}) + "\n" for qid, query in rows)
Path(sys.argv[1]).write_text("".join(lines), encoding="utf-8")
