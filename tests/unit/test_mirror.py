"""Downloads by http from a server on this machine that misbehaves in every way that was met."""

import gzip
import random
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vaebench.base.errors import UserError
from vaebench.base.files import md5_of
from vaebench.data.sources import origin
from vaebench.download.fetch import fetch
from vaebench.download.file_source import DownloadSettings, FileSource

BODY = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
PAGE = b"<html><head><title>Sign in</title></head></html>"


@dataclass
class Server:
    """Answers each request by the next of `answers`, functions of the handler; the last one answers all others."""

    answers: list = field(default_factory=list)
    requests: list[dict] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("vaebench.download.http.time.sleep", lambda seconds: None)
    served = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            """Say nothing."""

        def do_GET(self):
            number = len(served.requests)
            served.requests.append(dict(self.headers))
            served.answers[min(number, len(served.answers) - 1)](self)
            self.close_connection = True

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{httpd.server_port}/birds.zip"
    yield served
    httpd.shutdown()
    httpd.server_close()


def answer(body=BODY, status=200, send=None, **headers):
    """An answer with these headers (`_` for `-`), of which the body may break off after `send` bytes."""

    def reply(handler):
        handler.send_response(status)
        for name, value in ({"Content_Length": len(body)} | headers).items():
            if value is not None:
                handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(body[:send])

    return reply


def by_ranges(body=BODY, send=None, conditional=True, **headers):
    """A server that knows ranges, and If-Range unless told otherwise."""

    def reply(handler):
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"] or "")
        condition = handler.headers["If-Range"]
        if not asked or (conditional and condition and condition not in headers.values()):
            return answer(body, send=send, **headers)(handler)
        start = int(asked[1])
        span = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return answer(body[start:], 206, send=send, Content_Range=span, **headers)(handler)

    return reply


def get(server, folder, retries=0, timeout=2, **changes):
    """What arrives, without an md5 and without a size unless given."""
    file = {"file": "birds.zip", "bytes": None, "md5": None, "source": [{"url": server.url}]} | changes
    destination = folder / "birds.zip"
    fetch(FileSource.of(file), destination, DownloadSettings(timeout, retries, cookies=None))
    assert [path.name for path in folder.iterdir() if path.suffix != ".md5"] == ["birds.zip"], "nothing is left behind"
    return destination.read_bytes()


@contextmanager
def refused(folder, words):
    with pytest.raises(UserError, match=words) as failure:
        yield failure
    assert not (folder / "birds.zip").exists()


def md5(body, folder):
    (folder.parent / "reference").write_bytes(body)
    return md5_of(folder.parent / "reference")


@pytest.mark.parametrize("length", ["many", "-5", "", "1e6", "300000.0", "²", None])
def test_a_length_that_is_no_number_is_none(server, tmp_path, length):
    server.answers = [answer(Content_Length=length)]
    assert get(server, tmp_path) == BODY
    (tmp_path / "birds.zip").unlink()
    server.answers = [answer(BODY[:1000], Content_Length=length)]
    with refused(tmp_path, "ended after 1000 of 300000 bytes"):
        get(server, tmp_path, bytes=len(BODY))


def test_two_lengths_are_one_line(server, tmp_path):
    server.answers = [answer(Content_Length="5, 6")]
    with refused(tmp_path, "Content-Length contained"):
        get(server, tmp_path)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZip"])
def test_a_compression_that_was_not_asked_for_is_undone(server, tmp_path, encoding):
    server.answers = [answer(gzip.compress(BODY) + gzip.compress(b"more"), Content_Encoding=encoding)]
    assert get(server, tmp_path, bytes=len(BODY) + 4) == BODY + b"more"
    assert server.requests[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("length", [{}, {"Content_Length": None}])
def test_a_compressed_body_that_breaks_off_is_noticed(server, tmp_path, length):
    packed = gzip.compress(BODY)
    server.answers = [answer(packed, send=200_000, Content_Encoding="gzip", **length)]
    with refused(tmp_path, "ended early"):
        get(server, tmp_path)
    server.answers.append(answer(packed, Content_Encoding="gzip"))
    assert get(server, tmp_path) == BODY


def test_other_compressions_are_refused(server, tmp_path):
    server.answers = [answer(Content_Encoding="br")]
    with refused(tmp_path, r"compresses the file \(br\)"):
        get(server, tmp_path)


@pytest.mark.parametrize("encoding", ["identity", "UTF-8", "none", "aws-chunked"])
def test_what_is_no_compression_is_none(server, tmp_path, encoding):
    server.answers = [by_ranges(send=200_000, ETag='"one"', Content_Encoding=encoding)]
    assert get(server, tmp_path, retries=1) == BODY
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "place", ["http://[bad", "http://user:pw@[::1", "\xff\xfe", "http://a..b/", "file:///etc/passwd", "//"]
)
def test_a_redirection_to_nowhere_is_one_line(server, tmp_path, place):
    server.answers = [answer(b"", 302, Location=place)]
    with refused(tmp_path, "the address cannot be used|connection failed") as failure:
        get(server, tmp_path)
    assert "\n" not in str(failure.value)


def test_an_answer_that_is_no_http_is_quoted_in_short(server, tmp_path):
    server.answers = [lambda handler: handler.wfile.write(b"x" * 50_000)]
    with refused(tmp_path, "connection failed") as failure:
        get(server, tmp_path)
    assert len(str(failure.value)) < 1000


def test_a_server_that_asks_to_wait_is_waited_for(server, tmp_path, monkeypatch):
    """At most a minute, and as usual where it gives a date or nothing."""
    waits = []
    monkeypatch.setattr("vaebench.download.http.time.sleep", waits.append)
    asked = ["20", "3600", "Wed, 21 Oct 2099 07:28:00 GMT", None]
    server.answers = [
        *(answer(status=status, Retry_After=after) for status, after in zip((429, 503) * 2, asked, strict=True)),
        answer(),
    ]
    assert get(server, tmp_path, retries=4) == BODY
    assert waits == [20, 60, 4, 8]


@pytest.mark.parametrize("checked", [True, False])
def test_a_link_that_always_breaks_makes_progress(server, tmp_path, checked):
    """It breaks after 20,000 bytes each time: every one of them is kept, within a run and from run to run."""
    server.answers = [by_ranges(send=20_000, ETag='"one"')]
    given = {"md5": md5(BODY, tmp_path)} if checked else {}
    for run in range(7):
        with refused(tmp_path, f"{40_000 * (run + 1)} bytes are kept"):
            get(server, tmp_path, retries=1, **given)
    assert get(server, tmp_path, retries=1, **given) == BODY
    starts = [int(asked["Range"][6:-1]) for asked in server.requests[1:]]
    assert starts == list(range(20_000, 300_000, 20_000))


def test_a_link_that_stands_still_is_given_up_and_keeps_what_came(server, tmp_path, monkeypatch):
    gone_on = threading.Event()

    def stall(handler):
        by_ranges(send=150_000, ETag='"one"')(handler)
        handler.wfile.flush()
        gone_on.wait(5)

    server.answers = [stall, by_ranges(ETag='"one"')]
    try:
        assert get(server, tmp_path, retries=1, timeout=0.2) == BODY
    finally:
        gone_on.set()
    assert server.requests[1]["Range"] == "bytes=150000-"


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("now", [{"ETag": '"two"'}, {"Last_Modified": "Tue, 02 Jan 2024 00:00:00 GMT"}, {}])
def test_a_file_that_changed_meanwhile_is_taken_anew(server, tmp_path, conditional, now):
    """Also from a server that does not know If-Range, and from one that no longer says what it has."""
    first = {"ETag": '"one"'} if "ETag" in now else {"Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    server.answers = [by_ranges(send=100_000, **first), by_ranges(OTHER, conditional=conditional, **now)]
    assert get(server, tmp_path, retries=2) == OTHER


def test_without_a_version_nothing_is_continued(server, tmp_path):
    for first in ({}, {"ETag": 'W/"one"'}):
        server.requests.clear()
        server.answers = [by_ranges(send=100_000, **first), by_ranges(OTHER, **first)]
        assert get(server, tmp_path, retries=1) == OTHER
        assert "Range" not in server.requests[1]
        (tmp_path / "birds.zip").unlink()
        server.requests.clear()
        server.answers = [by_ranges(send=100_000, **first)]
        with refused(tmp_path, "next run starts anew"):
            get(server, tmp_path)
        server.answers = [by_ranges(OTHER, **first)]
        assert get(server, tmp_path) == OTHER
        (tmp_path / "birds.zip").unlink()


@pytest.mark.parametrize(
    "span",
    ["bytes 0-299999/300000", "bytes 50000-299999/300000", "bytes */300000", "bytes 100000-299999/300001", "", None],
)
@pytest.mark.parametrize("checked", [True, False])
def test_a_part_from_another_place_is_not_accepted(server, tmp_path, span, checked):
    given = {"md5": md5(BODY, tmp_path)} if checked else {}
    server.answers = [
        answer(send=100_000, ETag='"one"'),
        answer(OTHER[100_000:], 206, Content_Range=span, ETag='"one"'),
        answer(ETag='"one"'),
    ]
    assert get(server, tmp_path, retries=2, **given) == BODY


@pytest.mark.parametrize(
    ("part", "span"),
    [
        (BODY[100_000:200_000], "bytes 100000-299999/300000"),
        (BODY[100_000:], "bytes 100000-199999/300000"),
        (BODY[100_000:], "bytes 100000-299999/299999"),
        (BODY[100_000:], "bytes 100000-99999/300000"),
    ],
)
@pytest.mark.parametrize("length", [{}, {"Content_Length": None}])
def test_a_part_whose_range_contradicts_itself_or_its_bytes_is_not_accepted(server, tmp_path, part, span, length):
    """What may not be joined (RFC 9110, section 14.4) is asked for again, whether or not the length says it first."""
    server.answers = [answer(send=100_000, ETag='"one"'), answer(part, 206, Content_Range=span, ETag='"one"', **length)]
    if len(part) < 200_000 and length:  # looks like a connection that ended early, after which nothing is wrong
        server.answers.append(by_ranges(ETag='"one"'))
    else:
        server.answers.append(answer(ETag='"one"'))
    assert get(server, tmp_path, retries=2) == BODY
    if len(part) == 200_000:
        assert "Range" not in server.requests[2], "nothing of that part was kept"


@pytest.mark.parametrize("given", [{}, {"bytes": 300_000}])
def test_a_part_of_a_file_of_unknown_size_is_not_the_file(server, tmp_path, given):
    """`/*` says that the server does not know where the file ends."""
    server.answers = [answer(BODY[:100_000], 206, Content_Range="bytes 0-99999/*", ETag='"one"')]
    with refused(tmp_path, "another part|after 100000 of 300000 bytes"):
        get(server, tmp_path, **given)


def test_what_follows_a_part_of_a_file_of_unknown_size_is_measured_by_the_first_answer(server, tmp_path):
    server.answers = [
        answer(send=100_000, ETag='"one"'),
        answer(BODY[100_000:200_000], 206, Content_Range="bytes 100000-199999/*", ETag='"one"'),
        by_ranges(ETag='"one"'),
    ]
    assert get(server, tmp_path, retries=2) == BODY
    assert server.requests[2]["Range"] == "bytes=200000-"


def test_a_part_that_was_not_asked_for_is_not_the_file(server, tmp_path):
    server.answers = [answer(BODY[50_000:], 206, Content_Range="bytes 50000-299999/300000")]
    with refused(tmp_path, "another part"):
        get(server, tmp_path, retries=1)


def test_a_part_in_several_parts_is_joined(server, tmp_path):
    """A server may give less of the range than was asked for."""

    def some(handler):
        start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
        part = BODY[start : start + 120_000]
        span = f"bytes {start}-{start + len(part) - 1}/{len(BODY)}"
        answer(part, 206 if start else 200, Content_Range=span, Content_Length=None if not start else len(part))(
            handler
        )

    server.answers = [some]
    assert get(server, tmp_path, retries=2, bytes=len(BODY), md5=md5(BODY, tmp_path)) == BODY


@pytest.mark.parametrize(
    "page",
    [
        PAGE,
        PAGE.upper(),
        b"\xef\xbb\xbf \r\n<!DOCTYPE HTML>\n<p>Please sign in</p>",
        b"<!-- a portal -->\n<HEAD><meta charset='utf-8'></HEAD>",
        b"<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0 Strict//EN'>",
        b"<script>location='/login'</script>",
        b"<!-- " + b"long " * 100 + b"--><body>none</body>",
    ],
)
@pytest.mark.parametrize("kind", ["application/zip", "text/html; charset=utf-8", None])
def test_a_page_is_known_by_its_content(server, tmp_path, page, kind):
    """Also in single bytes, and from the first request or when the rest of a file was asked for."""

    def slowly(handler):
        answer(b"", Content_Length=len(page), Content_Type=kind)(handler)
        for byte in page[:20]:
            handler.wfile.write(bytes([byte]))
        handler.wfile.write(page[20:])

    for first in ([], [answer(send=100_000, ETag='"one"')]):
        server.requests.clear()
        server.answers = [*first, slowly]
        with refused(tmp_path, "HTML page"):
            get(server, tmp_path, retries=1)


def test_a_password_in_an_address_is_in_no_log_and_no_message(server, tmp_path, capfd):
    address = server.url.replace("http://", "http://me:se@cret@")
    server.answers = [answer(status=404)]
    with refused(tmp_path, "no such file") as failure:
        get(server, tmp_path, source=[{"url": address}])
    assert server.requests[0]["Authorization"].startswith("Basic ")
    with refused(tmp_path, "cannot be used") as invalid:
        get(server, tmp_path, source=[{"url": "http://me:se@cret@[bad/birds.zip"}])
    said = f"{failure.value} {invalid.value} {''.join(capfd.readouterr())}"
    assert f"url {server.url}" in said
    assert "cret" not in said
    assert origin(FileSource.of({"file": "a", "bytes": None, "md5": None, "source": [{"url": address}]})) == [
        ["url", server.url]
    ], "what Snakemake shows when it changes"


def test_a_page_does_not_cost_what_is_there(server, tmp_path):
    given = {"md5": md5(BODY, tmp_path)}
    server.answers = [by_ranges(send=100_000), answer(PAGE)]
    with refused(tmp_path, "HTML page") as failure:
        get(server, tmp_path, retries=1, **given)
    assert "set its bytes and md5 to null" not in str(failure.value), "a page is not another file"
    server.answers = [by_ranges()]
    assert get(server, tmp_path, **given) == BODY
    assert server.requests[-1]["Range"] == "bytes=100000-"


@pytest.mark.parametrize("body", [BODY, b"000001.jpg 0\n", b"image,split\n<b>.jpg,0\n", b""])
def test_what_is_no_page_is_taken_whatever_the_server_calls_it(server, tmp_path, body):
    server.answers = [answer(body, Content_Type="text/html")]
    assert get(server, tmp_path) == body


@pytest.mark.parametrize("status", [204, 205, 300, 304])
def test_an_answer_without_a_file_is_none(server, tmp_path, status):
    server.answers = [answer(b"", status)]
    with refused(tmp_path, f"answered {status} .*brings no file"):
        get(server, tmp_path)


def test_another_size_is_noticed_before_the_body_and_more_than_announced_while_it_comes(server, tmp_path):
    server.answers = [answer(send=5000)]
    with refused(tmp_path, "has 300000 bytes instead of 200000"):
        get(server, tmp_path, bytes=200_000)
    server.answers = [answer(Content_Length=None)]
    with refused(tmp_path, "more than the 200000 bytes"):
        get(server, tmp_path, bytes=200_000)


def test_chunks_and_a_break_among_them(server, tmp_path):
    def chunked(handler, end=b"0\r\n\r\n"):
        handler.protocol_version = "HTTP/1.1"
        answer(b"", Content_Length=None, Transfer_Encoding="chunked")(handler)
        for start in range(0, len(BODY), 100_000):
            handler.wfile.write(b"186a0\r\n" + BODY[start : start + 100_000] + b"\r\n")
        handler.wfile.write(end)

    server.answers = [lambda handler: chunked(handler, b""), chunked]
    assert get(server, tmp_path, retries=1) == BODY
    server.requests.clear()
    (tmp_path / "birds.zip").unlink()
    with refused(tmp_path, "ended early"):
        get(server, tmp_path)


def test_a_size_that_does_not_fit_on_the_disk_is_noticed_before_the_body(server, tmp_path):
    server.answers = [answer(b"x" * 2000, Content_Length=10**18)]
    with refused(tmp_path, "are needed"):
        get(server, tmp_path)
