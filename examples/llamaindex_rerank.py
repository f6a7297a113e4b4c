"""Re-rank with LlamaIndex's Cohere re-ranker; the server is rrarank's.

pip install llama-index-postprocessor-cohere-rerank 'cohere>=5.18,<6'
python -m rrarank.serve &                       # prints its URL
python examples/llamaindex_rerank.py http://127.0.0.1:8080
"""

import sys

from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank

ranker = CohereRerank(api_key="any, unless the server asks for keys", base_url=sys.argv[1], model="rrarank", top_n=2)
texts = [
    "Eggs keep for weeks in the fridge.",
    "Boil an egg for ten minutes if you want it hard.",
    "A hen lays an egg on most mornings.",
]
nodes = [NodeWithScore(node=TextNode(text=text)) for text in texts]
for node in ranker.postprocess_nodes(nodes, query_str="how long to boil an egg"):
    print(round(node.score, 3), node.text)
