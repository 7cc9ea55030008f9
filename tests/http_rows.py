#!/usr/bin/env python3
"""HTTP sentence by sentence: raw bytes to a real server, its status, headers, body, and whether the connection goes on.

  http_rows.py GASWORKS [--isolate] test; with a process for each tenant
  http_rows.py GASWORKS --table    print what it answers, as docs/http_rows.md, beside nginx if that is there ($NGINX, or in PATH)
"""
import os, re, shutil, subprocess, sys, tempfile, time

from http_server import Malformed, Reader, Server, dial

GET = b"GET /f/hello HTTP/1.1\r\nHost: t\r\n\r\n"


class Row:
    """section: of the RFC ("9112 3.2"); says: what it says; data: bytes, or a list of packets; status, body, has, lacks: of the
    reply. goes_on: whether the connection takes another request afterwards; by default when the status is no error."""

    def __init__(self, section, says, data, status, goes_on=None, body=None, has=(), lacks=(), is_head=False, first=None):
        self.section, self.says, self.status, self.is_head, self.first = section, says, status, is_head, first
        self.packets = data if isinstance(data, list) else [data]
        self.goes_on = status < 400 if goes_on is None else goes_on
        self.body, self.has, self.lacks = body, has, lacks


def get(target=b"/f/hello", headers=b"", version=b"HTTP/1.1", method=b"GET", host=b"Host: t\r\n"):
    return method + b" " + target + b" " + version + b"\r\n" + host + headers + b"\r\n"


def post(headers, body, target=b"/f/show"):
    return get(target, headers, method=b"POST") + body


def chunked(body, coding=b"Transfer-Encoding: chunked\r\n"):
    return post(coding, body)


ENV = b"/f/env"

ROWS = [
    # --- lines
    Row("9112 2.2", "an empty line before a request is ignored", b"\r\n" + GET, 200, body=b"hello\n"),
    Row("9112 2.2", "a line ends in CRLF: LF alone in the request line", b"GET /f/hello HTTP/1.1\nHost: t\r\n\r\n", 400),
    Row("9112 2.2", "LF alone behind a field", b"GET /f/hello HTTP/1.1\r\nHost: t\nA: b\r\n\r\n", 400),
    Row("9112 2.2", "LF alone as the empty line", b"GET /f/hello HTTP/1.1\r\nHost: t\r\n\n", 400),
    Row("9112 2.2", "CR alone is no line end", b"GET /f/hello HTTP/1.1\r\nA: b\rHost: t\r\n\r\n", 400),
    Row("9112 2.2", "CR and another byte do not end a head", b"GET /f/hello HTTP/1.1\r\nHost: t\r\n\rX", 400),
    Row("9112 2.2", "the same, in packets", [b"GET /f/hello HTTP/1.1\r\nHost: t\r\n\r", b"X"], 400),
    Row("9112 2.2", "white space before the first field", b"GET /f/hello HTTP/1.1\r\n Host: t\r\n\r\n", 400),
    Row("9112 3", "other bytes than a request, without a line end", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    # --- request line
    Row("9112 3", "one space between the parts", b"GET  /f/hello HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    Row("9112 3", "and no tab", b"GET\t/f/hello\tHTTP/1.1\r\nHost: t\r\n\r\n", 400),
    Row("9112 3", "none at its end", b"GET /f/hello HTTP/1.1 \r\nHost: t\r\n\r\n", 400),
    Row("9112 3", "none before it", b" GET /f/hello HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    Row("9112 3", "no request without a version", b"GET /f/hello\r\n\r\n", 400),
    Row("9112 3", "a target that is too long", get(b"/f/hello/" + b"a" * 9000), 414),
    Row("9112 3", "a method too long for any", get(method=b"M" * 9000), 501),
    Row("9112 3.2", "white space in the target", get(b"/f/he llo"), 400),
    Row("9112 3.2", "a fragment in the target", get(b"/f/hello#a"), 400),
    Row("9112 3.2", "a byte that no URI has", get(b"/f/hello/\xc3\xa4"), 400),
    Row("9112 3.2", "a control character", get(b"/f/hello/\x01"), 400),
    Row("9112 3.2", "a target of no form", get(b"f/hello"), 400),
    Row("9112 3.2.2", "absolute form", get(b"http://t/f/hello"), 200, body=b"hello\n"),
    Row("9112 3.2.2", "in any case", get(b"HTTP://t/f/hello"), 200, body=b"hello\n"),
    Row("9112 3.2.2", "its host wins over the field", get(b"http://one.test:81/f/env?q", host=b"Host: two.test\r\n"), 200,
        has=(b"SERVER_NAME=one.test\0", b"HTTP_HOST=one.test:81\0", b"REQUEST_URI=/f/env?q\0"), lacks=(b"two.test",)),
    Row("9112 3.2.2", "the query ends the host", get(b"http://x?a=/f/hello"), 404, goes_on=True),
    Row("9112 3.2.2", "and the fragment is none", get(b"http://x#/f/hello"), 400),
    Row("9110 4.2.1", "an http URI has a host", get(b"http:///f/hello"), 400),
    Row("9110 4.2.1", "and not only a port", get(b"http://:80/f/hello"), 400),
    Row("9110 4.2.4", "user information in the target", get(b"http://me@t/f/hello"), 400),
    Row("9110 7.4", "another scheme is not served here", get(b"https://t/f/hello"), 421),
    Row("9112 3.2.3", "authority form is for CONNECT", get(b"t:80"), 400),
    Row("9110 9.3.6", "CONNECT is not implemented", get(b"t:80", method=b"CONNECT"), 501),
    Row("9110 9.3.6", "whatever its target", get(b"/f/hello", method=b"CONNECT"), 501),
    Row("9112 3.2.4", "OPTIONS * is about the server", get(b"*", method=b"OPTIONS"), 204),
    Row("9112 3.2.4", "in absolute form too", get(b"http://t", method=b"OPTIONS"), 204),
    Row("9112 3.2.4", "* is for OPTIONS", get(b"*"), 400),
    Row("9110 9.1", "an unknown method", get(method=b"FROB"), 501),
    Row("9110 9.1", "methods are case-sensitive", get(method=b"get"), 501),
    Row("9110 9.1", "a method of another protocol", get(method=b"DESCRIBE"), 501),
    Row("9110 9.1", "a method is a token", get(method=b"G(T"), 400),
    Row("9110 15.5.6", "a known method that is not allowed, with Allow", get(b"/healthz", method=b"PATCH"), 405, goes_on=True,
        has=(b"allow: GET, HEAD\n",)),
    # --- version
    Row("9110 2.5", "HTTP/1.2 is read as 1.1", get(version=b"HTTP/1.2"), 200, body=b"hello\n"),
    Row("9110 2.5", "and gets what 1.1 gets", get(ENV, version=b"HTTP/1.9"), 200, has=(b"SERVER_PROTOCOL=HTTP/1.1\0",)),
    Row("9110 15.6.6", "HTTP/2.0", get(version=b"HTTP/2.0"), 505),
    Row("9113 3.4", "the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    Row("9110 15.6.6", "HTTP/0.9", get(version=b"HTTP/0.9"), 505),
    Row("9112 2.3", "another protocol", get(version=b"RTSP/1.0"), 400),
    Row("9112 2.3", "yet another", get(version=b"ICE/1.0", method=b"SOURCE"), 400),
    Row("9112 2.3", "the name is case-sensitive", get(version=b"http/1.1"), 400),
    Row("9112 2.3", "one digit each", get(version=b"HTTP/1.10"), 400),
    Row("9112 2.3", "one digit each, before the point", get(version=b"HTTP/01.1"), 400),
    Row("9112 9.3", "HTTP/1.0 ends with its reply", get(version=b"HTTP/1.0"), 200, goes_on=False),
    Row("9112 9.3", "unless it says otherwise", get(version=b"HTTP/1.0", headers=b"Connection: keep-alive\r\n"), 200),
    Row("9112 9.6", "close, in any case, in a list", get(headers=b"Connection: a, CLOSE\r\n"), 200, goes_on=False),
    Row("9110 7.8", "an upgrade is ignored", get(headers=b"Connection: Upgrade\r\nUpgrade: h2c\r\n"), 200, body=b"hello\n"),
    # --- fields
    Row("9112 5", "no field without a colon", get(headers=b"Abc\r\n"), 400),
    Row("9112 5", "nor without a name", get(headers=b": a\r\n"), 400),
    Row("9112 5.1", "white space before the colon", get(headers=b"A : b\r\n"), 400),
    Row("9110 5.1", "a name is a token", get(headers=b"A(: b\r\n"), 400),
    Row("9112 5.2", "obs-fold", get(headers=b"A: b\r\n c\r\n"), 400),
    Row("9112 5.2", "obs-fold by a tab behind an empty value", get(headers=b"A:\r\n\tc\r\n"), 400),
    Row("9112 5.2", "obs-fold, in packets", [b"GET /f/hello HTTP/1.1\r\nHost: t\r\nA: b\r\n", b" c\r\n\r\n"], 400),
    Row("9110 5.5", "no NUL in a value", get(headers=b"A: b\0c\r\n"), 400),
    Row("9110 5.5", "nor another control character", get(headers=b"A: b\x0bc\r\n"), 400),
    Row("9110 5.5", "tabs and bytes above ASCII may be", get(b"/f/show", b"A: b\t\xff\r\n"), 200, has=(b"A: b\t\xff\n",)),
    Row("9112 5", "white space around a value is not of it", get(b"/f/show", b"A: \t b \t \r\n"), 200, has=(b"\nA: b\n",)),
    Row("9110 5.4", "too many fields", get(headers=b"A: b\r\n" * 101), 431),
    Row("9110 5.4", "fields that are too large", get(headers=b"A: " + b"b" * 70000 + b"\r\n"), 431),
    # --- Host
    Row("9112 3.2", "no Host", get(host=b""), 400),
    Row("9112 3.2", "HTTP/1.0 needs none", get(version=b"HTTP/1.0", host=b""), 200, goes_on=False),
    Row("9112 3.2", "two of them", get(headers=b"Host: t\r\n"), 400),
    Row("9112 3.2", "two in HTTP/1.0", get(version=b"HTTP/1.0", headers=b"Host: t\r\n"), 400),
    Row("9112 3.2", "an empty one is valid", get(host=b"Host:\r\n"), 200),
    Row("9112 3.2", "a host in brackets", get(ENV, host=b"Host: [::1]:80\r\n"), 200, has=(b"SERVER_NAME=[::1]\0",)),
    Row("9112 3.2", "an empty port", get(host=b"Host: t:\r\n"), 200),
    Row("9112 3.2", "a slash", get(host=b"Host: t/x\r\n"), 400),
    Row("9112 3.2", "a space", get(host=b"Host: t x\r\n"), 400),
    Row("9112 3.2", "two values in one", get(host=b"Host: t, x\r\n"), 400),
    Row("9112 3.2", "a user", get(host=b"Host: me@t\r\n"), 400),
    Row("9112 3.2", "a port of letters", get(host=b"Host: t:x\r\n"), 400),
    Row("9112 3.2", "a port that is none", get(host=b"Host: t:65536\r\n"), 400),
    Row("9112 3.2", "an open bracket", get(host=b"Host: [::1\r\n"), 400),
    Row("9112 3.2", "a broken escape", get(host=b"Host: t%4\r\n"), 400),
    # --- framing
    Row("9112 6.1", "chunked", chunked(b"3\r\nabc\r\n2;a=b\r\nde\r\n0\r\nT: x\r\n\r\n"), 200, has=(b"abcde\n",)),
    Row("9112 7", "in any case", chunked(b"0\r\n\r\n", b"Transfer-Encoding: ChunKed\r\n"), 200),
    Row("9112 6.1", "a coding that is not known", chunked(b"0\r\n\r\n", b"Transfer-Encoding: gzip, chunked\r\n"), 501),
    Row("9112 6.1", "the same in two fields",
        chunked(b"0\r\n\r\n", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), 501),
    Row("9112 6.3", "chunked is not the last", chunked(b"0\r\n\r\n", b"Transfer-Encoding: chunked, gzip\r\n"), 400),
    Row("9112 6.3", "another is the only one", chunked(b"0\r\n\r\n", b"Transfer-Encoding: gzip\r\n"), 400),
    Row("9112 6.3", "identity is none", chunked(b"0\r\n\r\n", b"Transfer-Encoding: identity\r\n"), 400),
    Row("9112 6.1", "chunked twice", chunked(b"0\r\n\r\n", b"Transfer-Encoding: chunked, chunked\r\n"), 400),
    Row("9112 6.1", "chunked twice, in two fields", chunked(b"0\r\n\r\n", b"Transfer-Encoding: chunked\r\n" * 2), 400),
    Row("9110 5.6.1", "an empty list", chunked(b"0\r\n\r\n", b"Transfer-Encoding:\r\n"), 400),
    Row("9110 5.6.1", "nothing but a comma", chunked(b"0\r\n\r\n", b"Transfer-Encoding: ,\r\n"), 400),
    Row("9112 7", "chunked has no parameters", chunked(b"0\r\n\r\n", b"Transfer-Encoding: chunked;a=b\r\n"), 400),
    Row("9112 6.1", "a coding that ends in chunked", chunked(b"0\r\n\r\n", b"Transfer-Encoding: xchunked\r\n"), 400),
    Row("9112 6.3", "with Content-Length", chunked(b"0\r\n\r\n", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400),
    Row("9112 6.3", "and in the other order", chunked(b"0\r\n\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400),
    Row("9112 6.1", "in HTTP/1.0",
        get(b"/f/show", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.0", b"POST") + b"0\r\n\r\n", 400),
    Row("9112 7.1", "two other bytes behind a chunk", chunked(b"3\r\nabcXX0\r\n\r\n"), 400),
    Row("9112 7.1", "LF alone behind a chunk", chunked(b"3\r\nabc\n0\r\n\r\n"), 400),
    Row("9112 7.1", "LF alone behind a size", chunked(b"3\nabc\r\n0\r\n\r\n"), 400),
    Row("9112 7.1", "CR in a size", chunked(b"3\r1\r\nabc\r\n0\r\n\r\n"), 400),
    Row("9112 7.1", "white space behind a size", chunked(b"3 \r\nabc\r\n0\r\n\r\n"), 400),
    Row("9112 7.1", "no size", chunked(b"\r\n\r\n"), 400),
    Row("9112 7.1", "0x", chunked(b"0x3\r\nabc\r\n0\r\n\r\n"), 400),
    Row("9112 7.1", "a negative size", chunked(b"-3\r\nabc\r\n0\r\n\r\n"), 400),
    Row("9112 7.1", "a size beyond 64 bits", chunked(b"10000000000000003\r\nabc\r\n0\r\n\r\n"), 400),
    Row("9112 7.1", "a size beyond the limit", chunked(b"7fffffffffffffff\r\nabc\r\n0\r\n\r\n"), 413),
    Row("9112 7.1.1", "an extension without a name", chunked(b"3;\r\nabc\r\n0\r\n\r\n"), 400),
    Row("9112 7.1.1", "extensions that are too long", chunked(b"3;a=" + b"b" * 20000 + b"\r\nabc\r\n0\r\n\r\n"), 413),
    Row("9112 7.1.1", "together", chunked(b"1;a=bcdefghijkl\r\na\r\n" * 2000 + b"0\r\n\r\n"), 413),
    Row("9112 7.1.2", "trailers that are too long", chunked(b"0\r\n" + b"A: b\r\n" * 5000 + b"\r\n"), 431),
    Row("9112 7.1.2", "a trailer is a field", chunked(b"0\r\nA\r\n\r\n"), 400),
    Row("9112 7.1.2", "and does not fold", chunked(b"0\r\nA: b\r\n c\r\n\r\n"), 400),
    Row("9112 7.1.2", "nor does it end in LF", chunked(b"0\r\nA: b\n\r\n"), 400),
    Row("9110 6.5.1", "trailers are not among the fields", chunked(b"0\r\nHost: x\r\nA: trailed\r\n\r\n"), 200,
        lacks=(b"trailed",)),
    Row("9112 7.1.3", "what was decoded is not told", chunked(b"3\r\nabc\r\n0\r\n\r\n"), 200, lacks=(b"chunked",)),
    Row("9110 8.6", "Content-Length", post(b"Content-Length: 3\r\n", b"abc"), 200, has=(b"\nabc\n",)),
    Row("9112 6.3", "two that differ", post(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abcd"), 400),
    Row("9110 8.6", "two that are the same", post(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"), 400),
    Row("9110 8.6", "a list", post(b"Content-Length: 3, 3\r\n", b"abc"), 400),
    Row("9110 8.6", "a sign", post(b"Content-Length: +3\r\n", b"abc"), 400),
    Row("9110 8.6", "a negative one", post(b"Content-Length: -3\r\n", b"abc"), 400),
    Row("9110 8.6", "none", post(b"Content-Length:\r\n", b"abc"), 400),
    Row("9110 8.6", "a hexadecimal one", post(b"Content-Length: 0x3\r\n", b"abc"), 400),
    Row("9110 8.6", "white space in it", post(b"Content-Length: 3 3\r\n", b"abc"), 400),
    Row("9110 8.6", "beyond 64 bits", post(b"Content-Length: 18446744073709551619\r\n", b"abc"), 400),
    Row("9110 8.6", "beyond the limit", post(b"Content-Length: 1000000000000\r\n", b"abc"), 413),
    Row("9110 10.1.1", "100 (Continue)", get(b"/f/show", b"Expect: 100-Continue\r\nContent-Length: 3\r\n", method=b"POST"), 200,
        first=100, has=(b"\nabc\n",)),
    Row("9110 10.1.1", "no other expectation", get(headers=b"Expect: tea\r\n"), 417),
    Row("9110 10.1.1", "HTTP/1.0 expects nothing", get(version=b"HTTP/1.0", headers=b"Expect: 100-continue\r\n"), 200,
        goes_on=False),
    # --- replies
    Row("9110 9.3.2", "HEAD has no content", get(method=b"HEAD"), 200, is_head=True, has=(b"content-length: 6\n",)),
    Row("9110 8.6", "nor a length that GET would not have", get(b"/f/lazy", method=b"HEAD"), 200, is_head=True,
        lacks=(b"content-length",)),
    Row("9110 9.3.2", "an error for HEAD has no content", get(b"/nothing", method=b"HEAD"), 404, goes_on=True, is_head=True),
    Row("9110 15.3.5", "204 has no content, length or type", get(b"/f/status?204"), 204, has=(b"x-own: body\n",)),
    Row("9110 15.3.6", "205 has no content", get(b"/f/status?205"), 205, body=b"", has=(b"content-length: 0\n",)),
    Row("9110 15.4.5", "304 has no content, length or type", get(b"/f/status?304"), 304, has=(b"x-own: body\n",)),
    Row("9110 15", "a status that is not registered", get(b"/f/status?299"), 299, body=b"body"),
    Row("9110 15", "the last one", get(b"/f/status?599"), 599, goes_on=True, body=b"body"),
    Row("9110 6.6.1", "headers that are the server's", get(b"/f/status?200"), 200, body=b"body",
        lacks=(b"yesterday", b"gzip", b": 99", b"connection", b"gasworks-gas: gzip")),
    # --- what functions are told
    Row("3875 4.1.16", "SERVER_PROTOCOL is the request's", get(ENV, version=b"HTTP/1.0"), 200, goes_on=False,
        has=(b"SERVER_PROTOCOL=HTTP/1.0\0",)),
    Row("3875 4.1.8", "REMOTE_ADDR", get(ENV), 200, has=(b"REMOTE_ADDR=127.0.0.1\0",)),
    Row("3875 4.1.15", "SERVER_PORT is where the request came in", get(ENV, host=b"Host: t:1\r\n"), 200,
        has=(b"SERVER_PORT=@PORT@\0",)),
    Row("3875 4.1.5", "PATH_INFO is decoded, the target is raw", get(b"/f/env/a%2Fb%20c?d%20e"), 200,
        has=(b"PATH_INFO=/a/b c\0", b"QUERY_STRING=d%20e\0", b"REQUEST_URI=/f/env/a%2Fb%20c?d%20e\0")),
    Row("3875 4.1.2", "a body that was decoded has its length",
        get(ENV, b"Transfer-Encoding: chunked\r\n", method=b"POST") + b"3\r\nabc\r\n0\r\n\r\n", 200, has=(b"CONTENT_LENGTH=3\0",),
        lacks=(b"HTTP_TRANSFER_ENCODING",)),
    Row("3875 4.1.18", "fields of one name are joined", get(ENV, b"A: 1\r\na: 2\r\n"), 200, has=(b"HTTP_A=1, 2\0",)),
    Row("9110 5.3", "a handler sees each, in order", get(b"/f/show", b"A: 1\r\nB: 2\r\na: 3\r\n"), 200,
        has=(b"A: 1\nB: 2\na: 3\n",)),
    Row("3875 4.1.12", "a raw target for handlers", get(b"/f/show/a%2Fb?c"), 200, has=(b"\n/f/show/a%2Fb?c\n/a/b\nc\n",)),
]


def send(connection, packets):
    try:
        for packet in packets:
            connection.sendall(packet)
            if len(packets) > 1:
                time.sleep(0.05)
    except ConnectionError:
        pass  # refused before its end


def ask(row, port):
    """Its reply, and whether the connection goes on."""
    connection = dial(port)
    reader = Reader(connection)
    send(connection, row.packets)
    if row.first:
        assert reader.reply().status == row.first
        send(connection, [b"abc"])
    reply = reader.reply(row.is_head)
    if reply is None:
        return None, False
    if not row.goes_on:
        return reply, not reader.is_closed()
    send(connection, [GET])
    again = reader.reply()
    return reply, bool(again) and again.status == 200


def problems(row, port):
    """What is wrong with the answer, in words."""
    try:
        reply, goes_on = ask(row, port)
    except (Malformed, OSError, AssertionError) as error:
        return [f"{type(error).__name__} {error}"]
    if reply is None:
        return ["closed without a reply"]
    wrong = []
    if reply.status != row.status:
        wrong.append(f"{reply.status}, should be {row.status}: {reply.body[:300]!r}")
    if goes_on != row.goes_on:
        wrong.append("goes on" if goes_on else "does not go on")
    if row.body is not None and reply.body != row.body:
        wrong.append(f"body {reply.body!r}")
    text = b"".join(f"{key}: {value}\n".encode("latin1") for key, value in reply.headers) + b"\0" + reply.body
    port = str(port).encode()
    wrong += [f"lacks {part!r}: {text!r}" for part in row.has if part.replace(b"@PORT@", port) not in text]
    wrong += [f"has {part!r}: {text!r}" for part in row.lacks if part in text]
    return wrong


# --- the table ---------------------------------------------------------------------------------------------------------

NGINX = """daemon off; master_process off; pid {0}/pid; error_log {0}/log; worker_rlimit_nofile 1024; events {{}}
http {{ access_log off; client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d;
  scgi_temp_path {0}/e; server {{ listen unix:{0}/behind; location / {{ return 200; }} }}
  server {{ listen 127.0.0.1:{1}; location /f/ {{ proxy_pass http://unix:{0}/behind; }} location / {{ return 404; }} }} }}"""


INTRODUCTION = """# HTTP by its sentences

One case for each sentence of RFC 9110, 9112, 9113 and 3875 that a server of functions can keep or break. It has the
status that it should get, what `gasworks serve` answers, and what nginx 1.22 answers, which passes everything below `/f/` on.
`tests/http_rows.py` compares headers, bodies and whether the connection goes on as well; `tests/http_rows.py
build/release/gasworks --table` prints this page. "0.9" is a body without a head. What functions reply and are told has no
counterpart there, so nginx's column says nothing of it.
"""


def start_nginx():
    """(port, process), or (None, None) where there is none."""
    program = os.environ.get("NGINX") or shutil.which("nginx")
    if not program:
        return None, None
    work = tempfile.mkdtemp(prefix="gasworks-nginx-")
    with dial_free() as free:
        port = free.getsockname()[1]
    with open(work + "/conf", "w") as file:
        file.write(NGINX.format(work, port))
    os.chmod(work, 0o755)
    process = subprocess.Popen([program, "-p", work, "-c", work + "/conf"], stderr=subprocess.DEVNULL)
    time.sleep(1)
    return port, process


def dial_free():
    import socket
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    return free


def words(row, port):
    """What a server answers, as a cell of the table."""
    connection = dial(port, 2)
    send(connection, row.packets)
    try:
        start = connection.recv(65536)
    except (TimeoutError, OSError):
        return "waits"
    found = re.match(rb"HTTP/1\.[01] (\d{3})", start)
    return found[1].decode() if found else "closes" if not start else "0.9"


def print_table(port):
    other, process = start_nginx()
    print(INTRODUCTION)
    print("| RFC | case | should be | ours | nginx |\n|---|---|---|---|---|")
    for row in ROWS:
        section, says = row.section.replace(" ", ", "), row.says.replace("|", "\\|")
        nginx = words(row, other) if other else "-"
        print(f"| {section} | {says} | {row.first or row.status} | {words(row, port)} | {nginx} |")
    if process:
        process.terminate()
        process.wait()


def main():
    isolation = ["--isolate", "tenant"] if "--isolate" in sys.argv else []
    server = Server(sys.argv[1], ["--max-body", "1M", "--gas-limit", "10M", *isolation])
    failed = 0
    if "--table" in sys.argv:
        print_table(server.port)
    else:
        for row in ROWS:
            for wrong in problems(row, server.port):
                failed += 1
                print(f"FAIL RFC {row.section}: {row.says}: {wrong}")
        for status in range(200, 600):
            row = Row("9110 15", f"status {status}", get(b"/f/status?%d" % status), status, goes_on=True)
            for wrong in problems(row, server.port):
                failed += 1
                print(f"FAIL status {status}: {wrong}")
        print(f"{len(ROWS)} rows, {failed} failures")
    ok = server.stop()
    sys.exit(0 if ok and not failed else 1)


if __name__ == "__main__":
    main()
