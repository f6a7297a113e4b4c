"""Re-rank the documents of a LangChain retriever.

pip install -c constraints.txt '.[langchain]' && python examples/langchain_rerank.py
"""

from langchain_core.documents import Document

from rrarank.integrations.langchain import RrarankCompressor

texts = [
    "Eggs keep for weeks in the fridge.",
    "Boil an egg for ten minutes if you want it hard.",
    "A hen lays an egg on most mornings.",
]
compressor = RrarankCompressor(top_n=2)  # also as base_compressor of a ContextualCompressionRetriever
for document in compressor.compress_documents([Document(text) for text in texts], "how long to boil an egg"):
    print(round(document.metadata["relevance_score"], 3), document.page_content)
