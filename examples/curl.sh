#!/usr/bin/env bash
# Re-rank with curl. Start the server with  python -m rrarank.serve &  , then run
# bash examples/curl.sh http://127.0.0.1:8080
set -euo pipefail
curl --fail --silent --show-error "$1/v2/rerank" -H 'content-type: application/json' -d '{
  "query": "how long to boil an egg",
  "documents": ["Eggs keep for weeks in the fridge.", "Boil an egg for ten minutes if you want it hard.", "A hen lays an egg on most mornings."],
  "top_n": 2, "return_documents": true
}'
echo
