"""Ask the process in this container for its health: exit with 0 if it can do its job, with 1 if not.

python -I healthcheck.py /api/v1/health
"""

import os
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 9.0
"""Just under the 10 s that Docker waits."""


def main() -> int:
    """Run the check."""
    path = sys.argv[1] if len(sys.argv) > 1 else "/api/v1/health"
    url = f"http://127.0.0.1:{os.environ.get('HTTP_PORT') or 8080}{path}"
    try:
        # No proxy: the process is in this container.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=TIMEOUT_S) as response:
            sys.stdout.write(response.read(4096).decode(errors="replace"))
            return 0
    except urllib.error.HTTPError as exc:
        sys.stdout.write(exc.read(4096).decode(errors="replace"))
    except OSError as exc:
        sys.stdout.write(f"{url}: {exc}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
