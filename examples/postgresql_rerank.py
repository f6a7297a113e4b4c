"""Search a PostgreSQL table by full text and re-rank what it finds; the server is rrarank's.

pip install httpx 'psycopg[binary]'
python -m rrarank.serve &                       # prints its URL
python examples/postgresql_rerank.py http://127.0.0.1:8080 "dbname=shop" "how long to boil an egg"
"""

import sys

import httpx
import psycopg

# Any word of the query is enough; plainto_tsquery alone wants all of them.
SEARCH = """
    SELECT id, body, ts_rank_cd(to_tsvector('english', body), query) AS score
    FROM passages, CAST(replace(CAST(plainto_tsquery('english', %s) AS text), '&', '|') AS tsquery) AS query
    WHERE to_tsvector('english', body) @@ query ORDER BY score DESC, id LIMIT 100
"""
url, database, query = sys.argv[1:]
with psycopg.connect(database) as connection:
    rows = connection.execute(SEARCH, [query]).fetchall()
asked = {"query": query, "documents": [body for _, body, _ in rows], "top_n": 10}
reply = httpx.post(f"{url}/v1/rerank", json=asked, timeout=60)
for result in reply.raise_for_status().json()["results"]:
    ident, body, _ = rows[result["index"]]
    print(ident, round(result["relevance_score"], 3), body)
