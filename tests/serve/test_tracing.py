"""Traces: ids that clients send, and spans that reach a collector."""

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from server_process import serving  # type: ignore[import-not-found]  # pytest finds it beside this file

SLEEPER = Path(__file__).with_name("sleeper.py")
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ASKED = {"query": "unheard-of", "documents": ["unseen text", "b"]}


class Collector(HTTPServer):
    """Takes spans as OTLP over HTTP."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receiver)
        self.spans, self.bodies, self.service = [], b"", ""


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self):  # the library's name
        import gzip

        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = self.rfile.read(int(self.headers["content-length"]))
        body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
        self.server.bodies += body
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {one.key: one.value.string_value for one in of_resource.resource.attributes}
            self.server.service = named["service.name"]
            self.server.spans += [span for of_scope in of_resource.scope_spans for span in of_scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")
    with Collector() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def lines(server):
    return [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]


def test_spans_of_a_request_reach_the_collector_under_the_clients_trace_and_hold_no_text(tmp_path, collector):
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"}
    with serving(tmp_path, "--otel", "--reranker", "sleepy-pairs", command=[SLEEPER], **environment) as server:
        assert server.get("/health").status_code == 200
        assert server.post(ASKED, headers={"traceparent": f"00-{TRACE}-{SPAN}-01"}).status_code == 200
        assert server.post(ASKED).status_code == 200
        assert server.stop() == 0
    asked, own = ([one for one in collector.spans if (one.trace_id.hex() == TRACE) is same] for same in (True, False))
    assert collector.service == "rrarank"
    for spans in (asked, own):
        named = {one.name: one for one in spans}
        request = named.pop("POST /v1/rerank")
        assert set(named) == {"rrarank queue", "rrarank tokenise", "rrarank score"}
        assert {one.parent_span_id for one in named.values()} == {request.span_id}
        times = [(one.start_time_unix_nano, one.end_time_unix_nano) for one in named.values()]
        assert all(request.start_time_unix_nano <= begin <= end <= request.end_time_unix_nano for begin, end in times)
    assert next(one for one in asked if one.kind == 2).parent_span_id.hex() == SPAN
    assert not re.search(b"unheard|unseen", collector.bodies)
    logged = [line["trace_id"] for line in lines(server) if line["route"] == "/v1/rerank"]
    assert logged == [TRACE, own[0].trace_id.hex()]


def test_without_telemetry_the_log_has_the_clients_trace_if_it_is_valid(tmp_path):
    wrong = (
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        "",
    )
    with serving(tmp_path, "--reranker", "sleepy-pairs", command=[SLEEPER]) as server:
        for given in (f"00-{TRACE}-{SPAN}-00", *wrong):
            assert server.post(ASKED, headers={"traceparent": given}).status_code == 200
        assert server.stop() == 0
    first, *others = lines(server)
    assert {"trace_id": TRACE, "span_id": SPAN}.items() <= first.items()
    assert first["waited_ms"] >= 0
    assert not any("trace_id" in one for one in others)


ASKED_FOR = """
import sys
sys.modules["opentelemetry.sdk"] = None  # as if it were not installed
from rrarank.serve.__main__ import main
sys.exit(main(["--otel", "--port", "0"]))
"""
UNASKED = """
import sys
from rrarank.serve.__main__ import main
from rrarank.serve import app, workers
assert main(["--port", "0", "--model", "/nowhere"]) == 4
sys.exit(any(name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")) for name in sys.modules))
"""


@pytest.mark.parametrize(("code", "status", "said"), [(ASKED_FOR, 3, "the extra 'otel'"), (UNASKED, 0, "/nowhere")])
def test_telemetry_is_imported_only_if_asked_for_and_names_its_extra_where_it_is_missing(code, status, said):
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=300)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


def test_a_protocol_that_is_not_spoken_is_refused(capsys, monkeypatch):
    pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")
    from rrarank.serve.__main__ import main

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert main(["--otel", "--port", "0"]) == 2
    assert "OTEL_EXPORTER_OTLP_PROTOCOL grpc: --otel speaks http/protobuf only" in capsys.readouterr().err
