"""The page: static files that travel with the api function, under addresses that change when a file does.

``web/<version>/<file>`` may be kept by browsers for good, since the version is made of the content of all
files; only ``/`` itself is asked for anew. In a zip the files are in ``web/``, in the source tree in
``functions/api/web/``.
"""

from __future__ import annotations

import gzip
import hashlib
from base64 import b64encode
from functools import cache
from pathlib import Path
from re import findall

from geodrop import package

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_GZIP_FROM = 1024


@cache
def _folder() -> Path:
    packed = Path(__file__).parents[1] / "web"
    return packed if packed.is_dir() else package.SOURCE / "functions" / "api" / "web"


@cache
def _files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(_folder().iterdir()) if path.suffix in _TYPES}


@cache
def version() -> str:
    """A short name for the content of all files."""
    digest = hashlib.sha256()
    for name, content in _files().items():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:12]


@cache
def file(name: str) -> tuple[str, bytes, bytes | None] | None:
    """Content type, content, and the same gzipped where that is worth it; None where there is no such file."""
    content = _files().get(name)
    if content is None:
        return None
    return _TYPES[Path(name).suffix], content, _zipped(content)


@cache
def index() -> tuple[bytes, bytes | None, str]:
    """The page, the same gzipped, and its Content-Security-Policy: nothing comes from elsewhere."""
    text = _files()["index.html"].decode().replace("{version}", version())
    scripts = findall(r"<script>(.*?)</script>", text)
    digests = [b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    allowed = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in digests)])
    policy = (
        f"default-src 'none'; script-src {allowed}; worker-src 'self' blob:; style-src 'self' 'unsafe-inline';"
        " img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    content = text.encode()
    return content, _zipped(content), policy


def _zipped(content: bytes) -> bytes | None:
    return gzip.compress(content, 6, mtime=0) if len(content) >= _GZIP_FROM else None
