"""A collector of spans for tests, written from the specification of OTLP 1.x over HTTP (JSON): it checks what it gets to the last field, and
   answers as it is told to."""
import http.server
import json
import re
import threading

HEX16, HEX32, DECIMAL = re.compile(r"[0-9a-f]{16}"), re.compile(r"[0-9a-f]{32}"), re.compile(r"-?(0|[1-9]\d*)")
SPAN_FIELDS = {"traceId", "spanId", "traceState", "parentSpanId", "flags", "name", "kind", "startTimeUnixNano", "endTimeUnixNano",
               "attributes", "droppedAttributesCount", "events", "droppedEventsCount", "links", "droppedLinksCount", "status"}


class Wrong(Exception):
    pass


def want(ok, text):
    if not ok:
        raise Wrong(text)


def only(value, fields, what):
    want(isinstance(value, dict), f"{what} is no object: {value!r}")
    want(set(value) <= set(fields), f"{what} has fields that nobody knows: {set(value) - set(fields)}")


def check_value(value):
    """An AnyValue; returns what it is in Python."""
    want(isinstance(value, dict) and len(value) == 1, f"an AnyValue has one field: {value!r}")
    (kind, inner), = value.items()
    if kind == "stringValue":
        want(isinstance(inner, str), f"stringValue {inner!r}")
        return inner
    if kind == "boolValue":
        want(isinstance(inner, bool), f"boolValue {inner!r}")
        return inner
    if kind == "intValue":  # 64 bits are strings in protobuf's JSON mapping
        want(isinstance(inner, str) and DECIMAL.fullmatch(inner) and -2 ** 63 <= int(inner) < 2 ** 63, f"intValue {inner!r}")
        return int(inner)
    if kind == "doubleValue":
        want(isinstance(inner, (int, float)) and not isinstance(inner, bool), f"doubleValue {inner!r}")
        return float(inner)
    raise Wrong(f"a value of kind {kind}")


def check_attributes(attributes):
    want(isinstance(attributes, list), f"attributes {attributes!r}")
    found = {}
    for pair in attributes:
        only(pair, ("key", "value"), "an attribute")
        want(isinstance(pair["key"], str) and pair["key"], f"a key {pair!r}")
        want(pair["key"] not in found, f"{pair['key']} is there twice")
        found[pair["key"]] = check_value(pair["value"])
    return found


def check_time(text):
    want(isinstance(text, str) and DECIMAL.fullmatch(text) and 0 < int(text) < 2 ** 64, f"a time {text!r}")
    return int(text)


def check_span(span):
    only(span, SPAN_FIELDS, "a span")
    want(isinstance(span.get("traceId"), str) and HEX32.fullmatch(span["traceId"]) and int(span["traceId"], 16), f"traceId {span!r}")
    want(isinstance(span.get("spanId"), str) and HEX16.fullmatch(span["spanId"]) and int(span["spanId"], 16), f"spanId {span!r}")
    parent = span.get("parentSpanId", "")
    want(parent == "" or (HEX16.fullmatch(parent) and int(parent, 16)), f"parentSpanId {parent!r}")
    want(isinstance(span.get("name"), str) and span["name"], "a span without a name")
    want(isinstance(span.get("kind"), int) and 1 <= span["kind"] <= 5, f"kind {span.get('kind')!r}")
    want(isinstance(span.get("flags", 0), int) and 0 <= span.get("flags", 0) < 2 ** 32, "flags")
    begin, end = check_time(span.get("startTimeUnixNano")), check_time(span.get("endTimeUnixNano"))
    want(begin <= end, f"a span ends before it begins: {span!r}")
    status = span.get("status", {})
    only(status, ("code", "message"), "a status")
    want(isinstance(status.get("code", 0), int) and 0 <= status.get("code", 0) <= 2, f"a status {status!r}")
    return {"trace": span["traceId"], "span": span["spanId"], "parent": parent, "name": span["name"], "kind": span["kind"],
            "begin": begin, "end": end, "status": status.get("code", 0), "flags": span.get("flags", 0),
            "attributes": check_attributes(span.get("attributes", []))}


def check_request(body):
    """The spans of an ExportTraceServiceRequest, each with its resource's attributes."""
    request = json.loads(body.decode("utf-8"))
    only(request, ("resourceSpans",), "the request")
    spans = []
    for group in request["resourceSpans"]:
        only(group, ("resource", "scopeSpans", "schemaUrl"), "a ResourceSpans")
        only(group["resource"], ("attributes", "droppedAttributesCount"), "a resource")
        resource = check_attributes(group["resource"]["attributes"])
        want(resource.get("service.name"), "a resource without a service.name")
        for scope in group["scopeSpans"]:
            only(scope, ("scope", "spans", "schemaUrl"), "a ScopeSpans")
            only(scope["scope"], ("name", "version", "attributes"), "a scope")
            want(isinstance(scope["spans"], list) and scope["spans"], "a scope without spans")
            for span in scope["spans"]:
                spans.append(dict(check_span(span), resource=resource))
    return spans


class Receiver:
    """`answer(n)` says how request n is answered: (status, headers, body)."""

    def __init__(self, answer=None):
        self.lock, self.spans, self.wrong, self.requests, self.n = threading.Lock(), [], [], [], 0
        self.keep = True  # spans
        self.answer = answer or (lambda n: (200, {}, b"{}"))
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                receiver.take(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # who asked has gone

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        with self.lock:
            n, self.n = self.n, self.n + 1
        status, headers, reply = self.answer(n)
        try:
            want(handler.headers["Content-Type"] == "application/json", "a Content-Type " + str(handler.headers["Content-Type"]))
            spans = check_request(body)
            with self.lock:
                if self.keep:
                    self.requests.append((handler.path, dict(handler.headers.items()), status, len(spans)))
                    if 200 <= status < 300:
                        self.spans += spans
        except (Wrong, ValueError, KeyError, TypeError) as error:
            with self.lock:
                self.wrong.append(f"{error!r} in {body[:2000]!r}")
        try:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(reply)))
            handler.end_headers()
            handler.wfile.write(reply)
        except OSError:
            pass  # who asked has gone

    def close(self):
        self.server.shutdown()
        self.server.server_close()
