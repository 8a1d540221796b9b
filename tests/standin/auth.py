"""Teams, users, API keys and JWTs; login and switch-team."""
import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass, field

from aiohttp import web

from . import fields
from .errors import ApiError, forbidden, unauthorized
from .ids import check_id, new_id
from .route import JWT, NONE, Route

REFUSED_USERS = {
    "not_activated": "account_not_activated",
    "disabled": "account_disabled",
    "deactivated": "account_deactivated",
}


@dataclass
class User:
    email: str
    password: str
    name: str
    teams: list
    state: str = "active"
    admin: bool = False
    id: str = field(default_factory=lambda: new_id("usr"))


@dataclass
class ApiKey:
    """`text` is the secret itself; times are seconds since the epoch."""

    text: str
    team: str
    name: str
    created_by: str
    id: str = field(default_factory=lambda: new_id("key"))
    created_at: float = field(default_factory=time.time)
    last_used: object = None


@dataclass(frozen=True)
class Identity:
    """Who a request speaks for; `user` is None for an API key."""

    team: str
    kind: str
    user: object = None


class Accounts:
    """Who exists, and what proves it. Lives as long as the server."""

    def __init__(self, jwt_ttl):
        self.jwt_ttl = jwt_ttl
        self.secret = secrets.token_bytes(32)
        self.teams = []
        self.keys = {}
        self.users = {}

    def add_team(self):
        team = new_id("team")
        self.teams.append(team)
        return team

    def add_key(self, text, team, name="made at the start", user="nobody"):
        key = self.keys[text] = ApiKey(text, team, name, user)
        return key

    def make_key(self, team, name, user):
        return self.add_key("wrn_" + secrets.token_hex(16), team, name, user)

    def add_user(self, email, password, teams, state="active", admin=False):
        name = email.partition("@")[0]
        user = User(email, password, name, list(teams), state, admin)
        self.users[email] = user
        return user

    def identify(self, request, need):
        """The caller's Identity, or a 401. The API key is looked at first."""
        text = request.headers.get("X-API-Key")
        if text and need != JWT:
            key = self.keys.get(text)
            if key is None:
                raise unauthorized("invalid API key")
            key.last_used = time.time()
            return Identity(key.team, "api_key")
        scheme, _, token = request.headers.get("Authorization", "").partition(
            " "
        )
        if scheme == "Bearer":
            return self.read_token(token)
        if need == JWT:
            raise unauthorized("Authorization: Bearer <token> required")
        raise unauthorized(
            "X-API-Key or Authorization: Bearer <token> required"
        )

    def make_token(self, user, team):
        now = int(time.time())
        claims = {
            "sub": user.id,
            "team_id": team,
            "email": user.email,
            "name": user.name,
            "iat": now,
            "exp": now + self.jwt_ttl,
        }
        text = encode_part({"alg": "HS256", "typ": "JWT"})
        text += "." + encode_part(claims)
        return text + "." + encode(self.sign(text))

    def read_token(self, token):
        refusal = unauthorized("invalid or expired token")
        text, _, signature = token.rpartition(".")
        try:
            given = decode(signature)
            claims = json.loads(decode(text.partition(".")[2]))
        except ValueError:
            raise refusal from None
        if not hmac.compare_digest(given, self.sign(text)):
            raise refusal
        user = self.users.get(claims["email"])
        if claims["exp"] <= time.time() or user is None:
            raise refusal
        if user.state != "active":
            raise forbidden("account is not active", REFUSED_USERS[user.state])
        return Identity(claims["team_id"], "jwt", user)

    def sign(self, text):
        return hmac.new(self.secret, text.encode(), hashlib.sha256).digest()


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode_part(value):
    return encode(json.dumps(value, separators=(",", ":")).encode())


def credential_kind(request):
    """What a request offers, before it is known to be good."""
    if request.headers.get("X-API-Key"):
        return "api_key"
    if request.headers.get("Authorization"):
        return "jwt"
    return "none"


def session(accounts, user, team):
    return {
        "token": accounts.make_token(user, team),
        "user_id": user.id,
        "team_id": team,
        "email": user.email,
        "name": user.name,
    }


async def login(request):
    accounts = request.app["state"].accounts
    body = await fields.read_object(request)
    user = accounts.users.get(fields.text(body, "email"))
    password = fields.text(body, "password")
    if user is None or not hmac.compare_digest(
        user.password.encode(), password.encode("utf-8", "replace")
    ):
        raise unauthorized("invalid email or password")
    if user.state != "active":
        raise ApiError(403, REFUSED_USERS[user.state], "account is not active")
    if not user.teams:
        raise forbidden("no active team", "no_team")
    return web.json_response(session(accounts, user, user.teams[0]))


async def switch_team(request):
    accounts = request.app["state"].accounts
    body = await fields.read_object(request)
    team = check_id("team", fields.text(body, "team_id"), "team")
    user = request["identity"].user
    if team not in user.teams:
        raise forbidden("not a member of this team")
    return web.json_response(session(accounts, user, team))


async def me(request):
    identity = request["identity"]
    return web.json_response(
        {
            "id": identity.user.id,
            "email": identity.user.email,
            "name": identity.user.name,
            "team_id": identity.team,
        }
    )


ROUTES = [
    Route("POST", "/v1/auth/login", login, NONE),
    Route("POST", "/v1/auth/switch-team", switch_team, JWT),
    Route("GET", "/v1/me", me, JWT),
]
