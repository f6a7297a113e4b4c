"""Re-rank the documents of a Haystack pipeline.

pip install -c constraints.txt '.[haystack]' && python examples/haystack_rerank.py
"""

from haystack import Document, Pipeline

from rrarank.integrations.haystack import RrarankRanker

texts = [
    "Eggs keep for weeks in the fridge.",
    "Boil an egg for ten minutes if you want it hard.",
    "A hen lays an egg on most mornings.",
]
pipeline = Pipeline()
pipeline.add_component("ranker", RrarankRanker(top_k=2))
asked = {"query": "how long to boil an egg", "documents": [Document(content=text) for text in texts]}
for document in pipeline.run({"ranker": asked})["ranker"]["documents"]:
    print(round(document.score, 3), document.content)
