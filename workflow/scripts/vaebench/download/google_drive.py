"""Downloads from Google Drive by gdown, with a message for each kind of refusal."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gdown
import requests
from gdown.exceptions import DownloadError, FileURLRetrievalError

from vaebench.download.file_source import DownloadSettings
from vaebench.download.transfer import SourceError, Transfer

Result = TypeVar("Result")
FILE_PAGE = "https://drive.google.com/uc?id={}"
ID = re.compile(r"(?:/d/|/folders/|[?&]id=)([\w-]{10,})")
CONNECT_TIMEOUT = 10  # seconds
LONGEST_WAIT = 60  # seconds between two attempts

QUOTA = (
    "Google Drive's download quota for this file is used up. Wait up to 24 hours; or sign in to Google in a browser, "
    "export its cookies.txt and set download.cookies to it; or add the file to your own Drive (right click, Make a "
    "copy), share the copy and put its id into the list of sources; or use a mirror"
)
SIGN_IN = (
    "Google Drive asks for a sign-in: the file is not shared with everyone. Ask its owner to share it with `anyone "
    "with the link`, or sign in to Google in a browser, export its cookies.txt and set download.cookies to it"
)
NOT_FOUND = "Google Drive knows no such file (404): check the id in the list of sources"
TOO_MANY = "Google Drive gets too many requests from this address (429): wait an hour, or use a mirror"
NETWORK = (
    "check the network (compute nodes often have none: download on the login node), a proxy (HTTPS_PROXY), certificates"
)
INCOMPLETE = "the connection ended early several times; what was received is kept, and the next run continues there"


def download_file(transfer: Transfer, settings: DownloadSettings) -> None:
    """Bring the Drive file `transfer.where` (an id or a link) to `transfer.complete`; SourceError says why not."""
    _download(file_id(transfer.where), transfer, settings)


def download_from_folder(transfer: Transfer, settings: DownloadSettings) -> None:
    """Bring the file called `transfer.name` in the Drive folder `transfer.where`; SourceError says why not."""
    folder = file_id(transfer.where)
    listed = _asking(
        folder,
        settings,
        lambda: gdown.download_folder(id=folder, skip_download=True, quiet=True, **_options(settings)),
        transfer.discard,
    )
    files = [file for file in listed if not isinstance(file, str)]  # with skip_download all of them
    matches = [file for file in files if Path(file.path).name == transfer.name]
    if not matches:
        held = ", ".join(sorted(file.path for file in files)[:20]) or "nothing"
        raise SourceError(f"the folder holds no file called {transfer.name}, but {held}")
    _download(matches[0].id, transfer, settings)


def file_id(where: str) -> str:
    """The id in a Drive link, or `where` itself when it is no link."""
    match = ID.search(where)
    return match[1] if match else where


def _download(drive_id: str, transfer: Transfer, settings: DownloadSettings) -> None:
    if not transfer.trusted:
        transfer.discard()  # nothing would tell whether the old bytes belong to the file of today
    with transfer.progress() as progress:
        _asking(
            drive_id,
            settings,
            lambda: gdown.download(
                id=drive_id,
                output=str(transfer.complete),
                quiet=True,
                resume=True,
                progress=progress,
                retries=settings.retries,
                **_options(settings),
            ),
            transfer.discard,
        )


def _options(settings: DownloadSettings) -> dict[str, Any]:
    cookies = settings.cookies and Path(settings.cookies).expanduser()
    if cookies and not cookies.is_file():
        raise SourceError(f"download.cookies: there is no file {cookies}")
    return {
        "use_cookies": cookies is not None,
        "cookies_file": str(cookies) if cookies else None,
        "timeout": (CONNECT_TIMEOUT, settings.timeout),
    }


def _asking(
    drive_id: str, settings: DownloadSettings, attempt: Callable[[], Result], discard: Callable[[], None]
) -> Result:
    """The result of `attempt`; its failures become SourceError, those that may pass are tried again."""
    failed = 0
    while True:
        try:
            return attempt()
        except FileURLRetrievalError as error:
            reason, may_pass = _refusal(drive_id, str(error), settings)
        except DownloadError as error:
            reason, may_pass = str(error), "byte range" in str(error)
            if may_pass:
                discard()  # the partial file is not the beginning of the file on Drive
            elif "incomplete" in reason:
                reason = INCOMPLETE
        except requests.RequestException as error:
            raise SourceError(f"Google Drive cannot be reached ({error}): {NETWORK}") from error
        if not may_pass or failed == settings.retries:
            raise SourceError(reason)
        time.sleep(min(2**failed, LONGEST_WAIT))
        failed += 1


def _refusal(drive_id: str, message: str, settings: DownloadSettings) -> tuple[str, bool]:
    """Why Drive gave a page instead of the file, and whether that may pass within minutes.

    gdown does not look at the status, so the page is asked for once more.
    """
    if re.search("too many users|quota", message, re.IGNORECASE):
        return QUOTA, False
    try:
        page = requests.get(FILE_PAGE.format(drive_id), timeout=(CONNECT_TIMEOUT, settings.timeout))
    except requests.RequestException as error:
        return f"Google Drive cannot be reached ({error}): {NETWORK}", False
    if page.status_code == requests.codes.not_found:
        return NOT_FOUND, False
    if page.status_code == requests.codes.too_many_requests:
        return TOO_MANY, True
    if page.status_code >= 500:
        return f"Google Drive answered {page.status_code}: try again later", True
    if page.status_code in (401, 403) or "accounts.google.com" in page.url + page.text:
        return SIGN_IN, False
    return f"Google Drive gave a page without a download link: open {page.url} in a browser to see why", False
