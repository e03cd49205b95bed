"""Downloads from any http(s) address: streamed, resumed, retried; an HTML page is never taken for data."""

import json
import re
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from textwrap import shorten
from typing import Self

import requests
import urllib3

from vaebench.base.disk import need_space
from vaebench.base.files import atomic_path
from vaebench.download.file_source import DownloadSettings
from vaebench.download.transfer import ShowProgress, SourceError, Transfer

BLOCK = 1 << 16  # bytes taken from the connection at once, at most
LONGEST_WAIT = 60  # seconds between two attempts
ADVICE = {
    401: "the server asks for a sign-in (401)",
    403: "the server refuses access (403)",
    404: "there is no such file (404): check the address",
    410: "the file is gone (410)",
    429: "the server gets too many requests (429): wait some hours",
}
PAGE = "it gave an HTML page instead of the file: open the address in a browser to see why"
# By the rules with which browsers know HTML (mimesniff.spec.whatwg.org, section 7.1), after comments and prologues.
HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s|<!--.*?-->|<\?xml.*?\?>)*"
    rb"<(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)[\s>]",
    re.IGNORECASE | re.DOTALL,
)
NOT_ENCODED = ("", "identity", "none", "binary", "utf-8", "aws-chunked")  # what servers say of files as they are
LONGEST_QUOTE = 300  # characters of an error
HEAD = 1024  # bytes at the beginning of a file that show whether it is HTML


class Incomplete(Exception):
    """This attempt failed; another may continue where it ended, after `wait` seconds if the server asks for that."""

    def __init__(self, words: str, wait: float = 0) -> None:
        super().__init__(words)
        self.wait = wait


class ForeignPart(Incomplete):
    """This attempt failed, and nothing of what came can be trusted."""


@dataclass(frozen=True)
class Extent:
    """Which bytes of a file the body of an answer is."""

    is_part: bool
    start: int = 0  # -1: the answer does not say, or contradicts itself
    stop: int | None = None  # behind the last byte, where the answer says
    total: int | None = None  # bytes of the file, where the answer says

    @classmethod
    def of(cls, response: requests.Response) -> Self:
        """The extent in the headers of an answer; of 416 only the total counts."""
        length = response.headers.get("Content-Length", "")
        size = int(length) if length.isascii() and length.isdecimal() and not _encoding(response) else None
        if response.status_code in (200, 203):
            return cls(False, total=size)
        span = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
        if span is None or _encoding(response):
            return cls(True, start=-1)
        total = None if span[3] == "*" else int(span[3])
        if span[1] is None:
            return cls(True, start=-1, total=total)
        start, stop = int(span[1]), int(span[2]) + 1
        if stop <= start or (total is not None and stop > total) or size not in (None, stop - start):
            return cls(True, start=-1)  # RFC 9110, section 14.4: such a part must not be joined to another
        return cls(True, start, stop, total)


@dataclass(frozen=True)
class Version:
    """A server's identification of a file: parts belong together when it is equal for both."""

    etag: str | None  # only those that stand for equal bytes
    modified: str | None
    total: int | None  # bytes

    @classmethod
    def of(cls, response: requests.Response, total: int | None) -> Self:
        """The version in the headers of an answer."""
        etag = response.headers.get("ETag", "")
        return cls(etag if etag.startswith('"') else None, response.headers.get("Last-Modified"), total)

    @classmethod
    def noted(cls, transfer: Transfer) -> Self:
        """The version of which the partial file is the beginning."""
        with suppress(OSError, ValueError, TypeError):
            return cls(**json.loads(_note(transfer).read_text()))
        return cls(None, None, None)

    @property
    def proof(self) -> str | None:
        """What an answer has to repeat, so that its bytes may follow those that are there."""
        return self.etag or self.modified


def download(transfer: Transfer, settings: DownloadSettings) -> None:
    """Bring the file at the address `transfer.where` to `transfer.complete`; SourceError says why not."""
    attempts = settings.retries + 1
    failure, wait = None, 0.0
    with requests.Session() as session, transfer.progress() as progress:
        for attempt in range(attempts):
            if attempt:
                time.sleep(min(max(2 ** (attempt - 1), wait), LONGEST_WAIT))
            wait = 0
            try:
                _receive(session, transfer, settings.timeout, progress)
            except Incomplete as error:
                failure, wait = str(error), error.wait
            except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
                failure = f"the connection failed or ended early ({_words(error)})"
            except (requests.RequestException, ValueError) as error:  # ValueError: of a redirect to what is no address
                raise SourceError(f"the address cannot be used: {_words(error)}") from error
            else:
                _note(transfer).unlink(missing_ok=True)
                transfer.partial.rename(transfer.complete)
                return
    raise SourceError(
        f"{failure}, in {attempts} attempts. {_what_is_kept(transfer)}. "
        "Check the network (compute nodes often have none: download on the login node), or use another mirror"
    )


def _receive(session: requests.Session, transfer: Transfer, timeout: float, progress: ShowProgress) -> None:
    """One attempt: append to the partial file what it still lacks."""
    noted = Version.noted(transfer)
    if transfer.received and not (transfer.trusted or noted.proof):
        transfer.discard()  # nothing would tell whether the old bytes belong to the file of today
    have = transfer.received
    headers = _headers(have, None if transfer.trusted else noted.proof)
    with session.get(transfer.where, headers=headers, stream=True, timeout=timeout) as response:
        _refuse(response, have)
        extent = Extent.of(response)
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            if transfer.trusted and extent.total == have:
                return
            transfer.discard()
            raise Incomplete("the partial file did not fit the one on the server")
        version = Version.of(response, extent.total)
        if extent.is_part:
            fits = extent.start == have and (not have or _same_file(noted, version, transfer.trusted))
            if not fits or not (extent.total or noted.total or transfer.size or transfer.trusted):
                transfer.discard()
                raise Incomplete("the server sent another part of the file than the one asked for, or of another file")
        _save(response, transfer, extent, version, progress)


def _headers(have: int, proof: str | None) -> dict[str, str]:
    """The headers that ask for what follows the first `have` bytes, with `proof` only if the file is still that one."""
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if proof:
            headers["If-Range"] = proof
    return headers


def _save(
    response: requests.Response, transfer: Transfer, extent: Extent, version: Version, progress: ShowProgress
) -> None:
    """Write the body of an answer to its place in the partial file, and note its version at the beginning."""
    start, noted = extent.start, Version.noted(transfer).total if extent.is_part else None
    wanted = next((size for size in (version.total, noted, transfer.size) if size is not None), None)
    blocks = _decoded(_blocks(response), _encoding(response))
    if not start:
        blocks = _without_page(blocks, response.headers.get("Content-Type", ""))
    if transfer.size is not None and wanted != transfer.size:
        raise SourceError(f"the file there has {wanted} bytes instead of {transfer.size}")
    need_space(transfer.partial.parent, (wanted or 0) - start)
    if not start:
        with atomic_path(_note(transfer)) as temporary:
            temporary.write_text(json.dumps(asdict(version)))
    try:
        _append(_within(blocks, extent), transfer.partial, start, wanted, progress)
    except ForeignPart:
        transfer.discard()
        raise


def _within(blocks: Iterable[bytes], extent: Extent) -> Iterator[bytes]:
    """The same blocks; ForeignPart when they are more than the answer's Content-Range says."""
    position = extent.start
    for block in blocks:
        position += len(block)
        if extent.stop is not None and position > extent.stop:
            raise ForeignPart(f"the server sent more than the part of the file that ends at byte {extent.stop}")
        yield block


def _append(blocks: Iterable[bytes], partial: Path, start: int, wanted: int | None, progress: ShowProgress) -> None:
    """Write the blocks from byte `start` on; Incomplete when there are fewer bytes than wanted."""
    with open(partial, "r+b" if start else "wb") as file:
        file.seek(start)
        for block in blocks:
            file.write(block)
            progress(file.tell(), wanted)
            if wanted is not None and file.tell() > wanted:
                raise SourceError(f"it gave more than the {wanted} bytes that the file has")
        if wanted is not None and file.tell() < wanted:
            raise Incomplete(f"the connection ended after {file.tell()} of {wanted} bytes")


def _refuse(response: requests.Response, have: int) -> None:
    """Raise Incomplete or SourceError where the answer does not bring the file."""
    status = response.status_code
    words = ADVICE.get(status, f"the server answered {status} {response.reason}")
    if status in (408, 425, 429) or status >= 500:
        after = response.headers.get("Retry-After", "")
        raise Incomplete(words, float(after) if after.isascii() and after.isdecimal() else 0)
    if status == requests.codes.requested_range_not_satisfiable and have:
        return
    if status >= 400:
        raise SourceError(f"{words}; or use another mirror")
    if status not in (200, 203, 206):
        raise SourceError(f"{words}, which brings no file: check the address")


def _encoding(response: requests.Response) -> str:
    """How the body is compressed; empty when it is not."""
    encoding = response.headers.get("Content-Encoding", "").lower()
    return "" if encoding in NOT_ENCODED else encoding


def _same_file(noted: Version, now: Version, trusted: bool) -> bool:
    """Whether what is there and what comes are parts of one file; without an md5 that has to be proven."""
    if None not in (noted.total, now.total) and noted.total != now.total:
        return False
    return trusted or noted.proof in (now.etag, now.modified)


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """The body as it arrives, so that little is lost when the connection breaks, and as it was sent."""
    while block := response.raw.read1(BLOCK, decode_content=False):
        yield block


def _decoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The body without a compression that the server applied although it was asked not to."""
    if not encoding:
        yield from blocks
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise SourceError(f"the server compresses the file ({encoding}), which it was asked not to: use another mirror")
    decompressor, ended = zlib.decompressobj(zlib.MAX_WBITS | 32), True
    try:
        for block in blocks:
            while block:
                yield decompressor.decompress(block)
                block, ended = decompressor.unused_data, decompressor.eof
                if ended:
                    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 32)
    except zlib.error as error:
        raise Incomplete(f"the server's compression is damaged ({error})") from error
    if not ended:
        raise Incomplete("the connection ended early")


def _without_page(blocks: Iterator[bytes], kind: str) -> Iterator[bytes]:
    """The same blocks; SourceError when they begin as HTML does, since the content type may be wrong or absent."""
    head = b""
    for block in blocks:
        head += block
        if len(head) >= HEAD:
            break
    if HTML.match(head) or ("html" in kind and head.lstrip().startswith(b"<")):
        raise SourceError(PAGE)
    return chain([head], blocks)


def _words(error: Exception) -> str:
    """What an exception says, which may quote all that a server sent."""
    return shorten(str(error), LONGEST_QUOTE, placeholder=" ...")


def _note(transfer: Transfer) -> Path:
    """The file beside the partial one that holds its version."""
    return transfer.partial.with_name(f"{transfer.partial.name}.json")


def _what_is_kept(transfer: Transfer) -> str:
    if transfer.trusted or Version.noted(transfer).proof:
        return f"{transfer.received} bytes are kept, and the next run continues there"
    return "The next run starts anew, since neither an md5 nor the server would tell whether the file is still the same"
