"""Use a model of rrarank in the library `rerankers`.

pip install -c constraints.txt '.[rerankers]' && python examples/rerankers_adapter.py
"""

from rrarank.integrations.rerankers import RrarankRanker

ranker = RrarankRanker()  # the model that ships; or RrarankRanker("FOLDER_OR_HUB_ID", reranker="cross-encoder")
found = ranker.rank(
    "how long to boil an egg",
    ["Eggs keep for weeks in the fridge.", "Boil an egg for ten minutes if you want it hard."],
    doc_ids=["a", "b"],
)
for result in found:
    print(result.rank, result.document.doc_id, round(result.score, 3), result.document.text)
