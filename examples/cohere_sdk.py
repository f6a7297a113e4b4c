"""Re-rank with Cohere's SDK through both of its clients; the server is rrarank's.

pip install cohere
python -m rrarank.serve &                       # prints its URL
python examples/cohere_sdk.py http://127.0.0.1:8080
"""

import sys

import cohere

texts = [
    "Eggs keep for weeks in the fridge.",
    "Boil an egg for ten minutes if you want it hard.",
    "A hen lays an egg on most mornings.",
]
for kind in (cohere.Client, cohere.ClientV2):
    client = kind(api_key="any, unless the server asks for keys", base_url=sys.argv[1])
    answer = client.rerank(model="rrarank", query="how long to boil an egg", documents=texts, top_n=2)
    for result in answer.results:
        print(round(result.relevance_score, 3), texts[result.index])
