"""Waits until a URL answers 200."""

import sys
import time
import urllib.error
import urllib.request

deadline = time.monotonic() + 30
while True:
    try:
        urllib.request.urlopen(sys.argv[1], timeout=2).close()
        break
    except (urllib.error.URLError, OSError) as error:
        if time.monotonic() > deadline:
            sys.exit(f"{sys.argv[1]}: {error}")
        time.sleep(0.1)
