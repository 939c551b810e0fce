"""A process that sends what is due, for tests that kill it: `python sender.py <database> <addresses> [stop]`.

With `stop` it says so and waits, just before the notification would be sent.
"""

import sys
import time

from ldtm_lib.alerts.channels import Channel, valid_channels
from ldtm_lib.alerts.delivery import deliver
from ldtm_lib.database.connection import Database


class Stopping(Channel):
    def send(self, *, title: str, body: str, severity: str, is_short: bool = False) -> None:
        del title, body, severity, is_short
        print("about to send", flush=True)
        time.sleep(60)


if __name__ == "__main__":
    url, urls = sys.argv[1:3]
    channels = valid_channels({"LDTM_ALERT_URLS": urls})
    if sys.argv[3:] == ["stop"]:
        channels = [Stopping(address, source="the test") for address in urls.split()]
    deliver(Database(url=url, schema="ldtm"), channels, give_up_after_hours=72)
