"""get_by_httpx.py CA URL KEY: one GET, as a script in Python does it."""
import sys

import httpx

ca, url, key = sys.argv[1:]
answer = httpx.get(url, headers={"X-API-Key": key}, verify=ca, trust_env=False)
answer.raise_for_status()
print(answer.text)
