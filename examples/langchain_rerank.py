"""Re-rank with LangChain's Cohere re-ranker; the server is rrarank's.

pip install langchain-cohere 'cohere>=5.18,<6'
python -m rrarank.serve &                       # prints its URL
python examples/langchain_rerank.py http://127.0.0.1:8080
"""

import sys

import cohere
from langchain_cohere import CohereRerank
from langchain_core.documents import Document

client = cohere.ClientV2(api_key="any, unless the server asks for keys", base_url=sys.argv[1])
ranker = CohereRerank(client=client, model="rrarank", top_n=2)
texts = [
    "Eggs keep for weeks in the fridge.",
    "Boil an egg for ten minutes if you want it hard.",
    "A hen lays an egg on most mornings.",
]
for document in ranker.compress_documents([Document(text) for text in texts], "how long to boil an egg"):
    print(round(document.metadata["relevance_score"], 3), document.page_content)
