# `make demo` and `make test` set up all they need; the second time they find it there.
VENV    ?= .venv
PYTHON  ?= python3
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
DEMO    := demo

.PHONY: demo test test-slow lint docs docs-check format clean

demo: $(READY)  ## index the sample, retrieve, re-rank, evaluate
	@mkdir -p $(DEMO)
	$(BIN)/python -m rrarank.retrieve --index $(DEMO)/index --collection prebuilt/sample/collection.jsonl \
	    --topics prebuilt/sample/topics.tsv --output $(DEMO)/bm25.trec --overwrite
	$(BIN)/python -m rrarank.rerank --run $(DEMO)/bm25.trec --output $(DEMO)/reranked.trec --overwrite
	$(BIN)/python -m rrarank.evaluate --qrels sample.txt --runs $(DEMO)/bm25.trec $(DEMO)/reranked.trec
	@echo "An illustration, not evidence: 20 queries over 150 passages written for this purpose."

test: $(READY) lint  ## lint, types, and the default suite
	@echo "two halves at once, a core each; the first one prints when it has ended"
	export OMP_NUM_THREADS=1; \
	$(BIN)/python -m pytest --ignore-glob='tests/[s-z]*' > .first-half.log 2>&1 & first=$$!; \
	$(BIN)/python -m pytest tests/[s-z]*; second=$$?; \
	wait $$first; first=$$?; cat .first-half.log; exit $$((first + second))

test-slow: $(READY)  ## what takes minutes: real data, kill loops
	$(BIN)/python -m pytest -m slow --durations 40

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)  ## the documentation site, into site/; needs no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "To read it: $(BIN)/python -m http.server -d site"

docs-check: $(READY)  ## run every command of README.md and docs/ on the sample
	$(BIN)/python docs/check.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[all,dev]'
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO) build dist site *.egg-info
