"""sentence-transformers' CrossEncoder behind FastAPI, as one writes it in an afternoon; requests take turns.

python -m benchmarks.serving.cross_encoder MODEL --port 8000 --threads 2
"""

import argparse
import threading

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import CrossEncoder


class Asked(BaseModel):
    query: str
    documents: list[str]


def app_of(model: CrossEncoder) -> FastAPI:
    app, turn = FastAPI(), threading.Lock()  # without the lock, many requests at once only slow each other down

    @app.post("/v1/rerank")
    def rerank(asked: Asked) -> dict[str, list[dict[str, float]]]:
        with turn:
            scores = model.predict([(asked.query, text) for text in asked.documents], batch_size=32)
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        return {"results": [{"index": place, "relevance_score": float(scores[place])} for place in order]}

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    uvicorn.run(app_of(CrossEncoder(flags.model, device="cpu")), port=flags.port, log_level="error")


if __name__ == "__main__":
    main()
