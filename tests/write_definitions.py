"""Write sql/definitions.json, the definitions of a fresh schema: `make definitions`, after a new migration."""

import json
import tempfile
from pathlib import Path

from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Database
from ldtm_lib.database.definitions import DEFINITIONS_FILE, read_definitions
from ldtm_lib.database.migrate import migrate
from ldtm_lib.sessions import exchange_calendar


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        database = Database(url=embedded.start(Path(home)), schema="ldtm")
        try:
            migrate(database, exchange_calendar())
            with database.transaction() as conn:
                found = read_definitions(conn)
        finally:
            embedded.stop(Path(home))
    DEFINITIONS_FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found)} definitions in {DEFINITIONS_FILE}")


if __name__ == "__main__":
    main()
