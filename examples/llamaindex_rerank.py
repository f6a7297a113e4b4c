"""Re-rank the nodes of a LlamaIndex query engine.

pip install -c constraints.txt '.[llamaindex]' && python examples/llamaindex_rerank.py
"""

from llama_index.core.schema import NodeWithScore, TextNode

from rrarank.integrations.llamaindex import RrarankPostprocessor

texts = [
    "Eggs keep for weeks in the fridge.",
    "Boil an egg for ten minutes if you want it hard.",
    "A hen lays an egg on most mornings.",
]
nodes = [NodeWithScore(node=TextNode(text=text)) for text in texts]
processor = RrarankPostprocessor(top_n=2)  # also in node_postprocessors of index.as_query_engine
for node in processor.postprocess_nodes(nodes, query_str="how long to boil an egg"):
    print(round(node.score, 3), node.text)
