"""Faults on demand: rules that match requests and what they do to them."""
import asyncio
import json
import random
import re

from aiohttp import web

from . import hangup, wsfaults
from .errors import Dropped, error_response, invalid
from .outlet import send_shaped

MATCHES = {"method", "path", "header"}
BEFORE = {"delay", "status", "code", "message", "body", "content_type",
          "reset_before", "reset_upload", "hang", "redirect", "drop_edge"}
# What bends the answer; a response that none of these names goes out as is.
SHAPING = {"delay_answer", "lose_answer", "cut_after", "slow_body",
           "wrong_type", "drop_edge"}
REPLACING = {"empty_list", "bad_json", "huge_body"}
WEBSOCKET = {"ws"}
CODES = {400: "invalid_request", 401: "unauthorized", 403: "forbidden",
         404: "not_found", 409: "invalid_state", 413: "too_large",
         500: "internal_error", 501: "agent_error", 502: "agent_error",
         503: "host_unavailable"}
PAD = b"x" * 65536
# How much of a request is taken in before a rule answers it.
READ_FIRST = 1 << 20


def check_numbers(action):
    for name in ("delay", "delay_answer", "cut_after", "slow_body",
                 "huge_body", "reset_upload", "status"):
        value = action.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise invalid(f"action.{name} must be a number")
        if value < 0 or (name == "slow_body" and name in action and not value):
            raise invalid(f"action.{name} is out of range")


class Rule:
    """Which requests, how many of them, and the action. See README.md."""

    def __init__(self, number, fields):
        unknown = set(fields) - {"match", "count", "skip", "probability",
                                 "action"}
        match = fields.get("match") or {}
        self.action = fields.get("action") or {}
        unknown |= set(match) - MATCHES
        unknown |= (
            set(self.action) - BEFORE - SHAPING - REPLACING - WEBSOCKET
        )
        if unknown:
            raise invalid("unknown in a fault: " + ", ".join(sorted(unknown)))
        if not self.action:
            raise invalid("a fault needs an action")
        if self.action.get("drop_edge") not in (None, "before", "after"):
            raise invalid('drop_edge is "before" or "after"')
        check_numbers(self.action)
        wsfaults.check(self.action.get("ws", {}))
        self.id = number
        self.match = match
        self.count = fields.get("count", 1)
        self.skip = fields.get("skip", 0)
        self.probability = fields.get("probability", 1)
        self.hits = 0
        self.path = re.compile(match.get("path", ""))
        self.headers = {
            name: re.compile(pattern)
            for name, pattern in (match.get("header") or {}).items()
        }

    def matches(self, method, path, headers):
        wanted = self.match.get("method")
        if wanted is not None and wanted.upper() != method:
            return False
        if not self.path.search(path):
            return False
        return all(
            pattern.search(headers.get(name, ""))
            for name, pattern in self.headers.items()
        )

    def take(self, dice):
        """Whether a matching request is hit; uses up skip and count."""
        if self.count == 0 or dice.random() >= self.probability:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.count > 0:
            self.count -= 1
        self.hits += 1
        return True

    def answer(self):
        return {
            "id": self.id, "match": self.match, "action": self.action,
            "count": self.count, "skip": self.skip,
            "probability": self.probability, "hits": self.hits,
        }


class Faults:
    """The rules in order of their making; the first that takes, wins."""

    def __init__(self, seed):
        self.rules = []
        self.made = 0
        self.dice = random.Random(seed)

    def add(self, fields):
        try:
            rule = Rule(self.made + 1, fields)
        except (re.error, TypeError, AttributeError) as error:
            raise invalid(f"not a fault: {error}") from None
        self.made += 1
        self.rules.append(rule)
        return rule

    def remove(self, number):
        """Removes one rule, or all of them for None."""
        self.rules = [
            rule for rule in self.rules if number not in (None, rule.id)
        ]

    def take(self, method, path, headers):
        for rule in self.rules:
            if rule.matches(method, path, headers) and rule.take(self.dice):
                return rule
        return None


def canned_answer(action):
    """The answer a fault gives instead of the server, or None."""
    if "redirect" in action:
        status = action.get("status", 307)
        headers = {"Location": action["redirect"]}
        return web.Response(status=status, headers=headers)
    if "status" not in action:
        return None
    status = action["status"]
    if "body" in action:
        return web.Response(
            status=status,
            body=action["body"].encode(),
            content_type=action.get("content_type", "text/html"),
        )
    code = action.get("code", CODES.get(status, "internal_error"))
    return error_response(status, code, action.get("message", "fault"))


async def read_upload(request, size):
    """Takes in `size` bytes of the body, or all of it if it has fewer."""
    left = size
    while left > 0 and not request.content.at_eof():
        left -= len(await request.content.read(min(left, 65536)))


async def before(request, action):
    """What happens to a request instead of, or before, its handler."""
    if "delay" in action:
        await asyncio.sleep(action["delay"])
    if action.get("hang"):
        await hangup.wait_for(request, asyncio.Event().wait())
    if "reset_upload" in action:
        await read_upload(request, action["reset_upload"])
    if action.get("reset_before") or "reset_upload" in action:
        hangup.drop(request)
        raise Dropped()
    if action.get("drop_edge") == "before":
        await request.app["state"].edge.restart()
        hangup.drop(request)
        raise Dropped()
    answer = canned_answer(action)
    if answer is not None:
        # One that comes before the request is read whole makes the edge
        # answer 502 now and then, in its own name.
        await read_upload(request, READ_FIRST)
    return answer


async def send_huge(request, size):
    """A JSON object of about `size` bytes, never whole in memory."""
    response = web.StreamResponse()
    response.content_type = "application/json"
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(b'{"pad":"')
    left = size
    while left > 0:
        await response.write(PAD[:min(left, len(PAD))])
        left -= len(PAD)
    await response.write(b'"}')
    await response.write_eof()
    return response


def replaced(response, action):
    """The response with another body, where the action asks for one."""
    if action.get("empty_list"):
        return web.json_response([])
    if action.get("bad_json"):
        body = response.body or json.dumps({"id": None}).encode()
        return web.Response(
            status=response.status,
            body=body[:len(body) // 2],
            content_type="application/json",
        )
    return response


async def after(request, response, action):
    """What happens to the answer. One already under way is left alone:
    its handler sent it through an Outlet, which did the same to it."""
    if response.prepared:
        return response
    if "huge_body" in action:
        return await send_huge(request, action["huge_body"])
    response = replaced(response, action)
    if SHAPING.isdisjoint(action):
        return response
    return await send_shaped(request, response)


async def run(request, action, handler):
    """Handles a request that a rule has taken."""
    request["action"] = action
    response = await before(request, action)
    if response is None:
        response = await handler(request)
    return await after(request, response, action)
