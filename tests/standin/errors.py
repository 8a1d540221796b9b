"""The errors of the API and the shape they are answered in."""
from aiohttp import web


class ApiError(Exception):
    """A refusal: an HTTP status with the `code` and `message` of its body.

    `more` are further members of the error.
    """

    def __init__(self, status, code, message, more=None):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.more = more or {}

    def response(self):
        return error_response(
            self.status, self.code, self.message, self.more
        )


class Dropped(Exception):
    """The connection was closed on purpose; there is nobody to answer."""


def error_response(status, code, message, more=None):
    body = {"error": {"code": code, "message": message, **(more or {})}}
    return web.json_response(body, status=status)


def invalid(message):
    return ApiError(400, "invalid_request", message)


def unauthorized(message):
    return ApiError(401, "unauthorized", message)


def forbidden(message, code="forbidden"):
    return ApiError(403, code, message)


def not_found(message):
    return ApiError(404, "not_found", message)


def invalid_state(message):
    return ApiError(409, "invalid_state", message)


def conflict(message):
    return ApiError(409, "conflict", message)


def too_large(message):
    return ApiError(413, "too_large", message)


def read_error(message):
    return ApiError(500, "read_error", message)


def agent_error(message):
    return ApiError(502, "agent_error", message)
