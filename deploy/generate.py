"""Write what is deployed from the tables in the code: PostgreSQL's roles, Redis' users, the dashboards.

    .venv/bin/python deploy/generate.py

A test compares the files with what this makes.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

from dashboards import DASHBOARDS, render  # noqa: E402 - beside this file, which is no package

from fauxchange.data.postgres.roles import bootstrap_sql  # noqa: E402
from fauxchange.data.redis.acl import USERS  # noqa: E402
from fauxchange.venue.services import GATEWAYS, SERVICES  # noqa: E402

HEALTH_USER = "user health on nopass resetchannels -@all +ping"
"""For the health check of the container: it can do nothing else, so it needs no password."""


def files() -> Mapping[Path, str]:
    """Return the text of every file that is made here, by its path."""
    return {
        FOLDER / "postgres/roles.sql": bootstrap_sql(),
        FOLDER / "redis/users.acl.template": users_template(),
        **{
            FOLDER / f"grafana/dashboards/{name}.json": json.dumps(render(dashboard), indent=2) + "\n"
            for name, dashboard in DASHBOARDS.items()
        },
    }


def users_template() -> str:
    """Return the users of Redis, one per service and gateway that exists; `#@NAME@` is for the hash of a password."""
    services = {f"{name}-adapter" for name in (*SERVICES, *GATEWAYS)}
    lines = ["user default off", HEALTH_USER]
    for user in USERS:
        if user.name in services:
            variable = f"{user.name.upper().replace('-', '_')}_PASSWORD"
            lines.append(" ".join(["user", user.name, "on", f"#@{variable}@", *user.rules()]))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the files."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
