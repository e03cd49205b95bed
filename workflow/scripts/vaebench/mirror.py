"""Downloads from any http(s) address: streamed, resumed, retried; an HTML page is never taken for data."""

import re
import time

import requests

from vaebench.transfer import Progress, SourceError, Transfer

BLOCK = 1 << 19
LONGEST_WAIT = 60  # seconds between two attempts
ADVICE = {
    401: "the server asks for a sign-in (401)",
    403: "the server refuses access (403)",
    404: "there is no such file (404): check the address",
    410: "the file is gone (410)",
    429: "the server gets too many requests (429): wait some hours",
}


class Incomplete(Exception):
    """This attempt failed; another may continue where it ended."""


def download(transfer: Transfer, settings: dict) -> None:
    """Bring the file at the address `transfer.where` to `transfer.complete`; SourceError says why not."""
    if not transfer.trusted:
        transfer.discard()  # nothing would tell whether the old bytes belong to the file of today
    attempts = settings["retries"] + 1
    failure = None
    with requests.Session() as session, transfer.progress() as progress:
        for attempt in range(attempts):
            if attempt:
                time.sleep(min(2 ** (attempt - 1), LONGEST_WAIT))
            try:
                _receive(session, transfer, settings["timeout"], progress)
            except Incomplete as error:
                failure = str(error)
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                failure = f"the connection failed or ended early ({error})"
            except requests.RequestException as error:
                raise SourceError(f"the address cannot be used: {error}") from error
            else:
                transfer.partial.rename(transfer.complete)
                return
    raise SourceError(
        f"{failure}, in {attempts} attempts. {transfer.received} bytes are kept, and the next run continues there. "
        "Check the network (compute nodes often have none: download on the login node), or use another mirror"
    )


def _receive(session: requests.Session, transfer: Transfer, timeout: float, progress: Progress) -> None:
    """One attempt: append to the partial file what it still lacks."""
    have = transfer.received
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with session.get(transfer.where, headers=headers, stream=True, timeout=timeout) as response:
        start, total = _extent(response, have)
        if start is None:
            if total == have:
                return
            transfer.discard()
            raise Incomplete("the partial file did not fit the one on the server")
        with open(transfer.partial, "r+b" if start else "wb") as file:
            file.seek(start)
            for block in response.iter_content(BLOCK):
                if file.tell() == 0 and re.match(rb"\s*<(!doctype html|html)", block, re.IGNORECASE):
                    raise SourceError(
                        "it gave an HTML page instead of the file: open the address in a browser to see why"
                    )
                file.write(block)
                progress(file.tell(), total)
            if total is not None and file.tell() < total:
                raise Incomplete(f"the connection ended after {file.tell()} of {total} bytes")


def _extent(response: requests.Response, have: int) -> tuple[int | None, int | None]:
    """Where the body starts in the file (None: nothing comes after `have`) and the size of the file, if announced."""
    status = response.status_code
    span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    total = int(span[2]) if span and span[2] != "*" else None
    if status == requests.codes.requested_range_not_satisfiable and have:
        return None, total
    if status in (408, 425, 429) or status >= 500:
        raise Incomplete(ADVICE.get(status, f"the server answered {status} {response.reason}"))
    if status >= 400:
        raise SourceError(
            f"{ADVICE.get(status, f'the server answered {status} {response.reason}')}; or use another mirror"
        )
    if "text/html" in response.headers.get("Content-Type", ""):
        raise SourceError("it gave an HTML page instead of the file: open the address in a browser to see why")
    if status == requests.codes.partial_content and span and span[1] == str(have):
        return have, total
    length = response.headers.get("Content-Length")
    return 0, int(length) if length else None
