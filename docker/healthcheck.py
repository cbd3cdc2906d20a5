"""What HEALTHCHECK runs in the images: asks HEALTH_URL, and ends with 0 if the answer is 200.

The slim image has no curl. The proxies of the environment are not asked, since the address is the
container's own. An empty HEALTH_URL means that there is nothing to ask (`metrics: {listen: off}`).
"""  # noqa: INP001 - a script that is copied into the images

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

SECONDS = 5.0
GOOD = 200


def ask(url: str) -> str | None:
    """Return why `url` does not answer as it should, or None."""
    try:
        place = urlsplit(url)
        if place.scheme != "http" or place.hostname is None:
            return "HEALTH_URL has to be http://HOST:PORT/PATH"
        connection = HTTPConnection(place.hostname, place.port, timeout=SECONDS)
        connection.request("GET", place.path or "/")
        status = connection.getresponse().status
    except (OSError, HTTPException, ValueError) as error:
        return f"no answer: {error}"
    return None if status == GOOD else f"answered {status}"


def main() -> int:
    """Tell Docker by the exit code, and a person by `docker inspect`."""
    url = os.environ.get("HEALTH_URL", "")
    reason = ask(url) if url else None
    if reason is None:
        return 0
    sys.stdout.write(f"{url}: {reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
