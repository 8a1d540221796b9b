"""The error classes of the server, each with what makes the server say it."""
from .expect import fails

# HTTP status, the server's code, our name, the SDK's class.
CLASSES = [
    (400, "invalid_request", "validation", "WrennValidationError"),
    (401, "unauthorized", "unauthorized", "WrennAuthenticationError"),
    (403, "forbidden", "forbidden", "WrennForbiddenError"),
    (403, "no_team", "forbidden", "WrennForbiddenError"),
    (403, "account_not_activated", "forbidden", "WrennForbiddenError"),
    (403, "account_disabled", "forbidden", "WrennForbiddenError"),
    (403, "account_deactivated", "forbidden", "WrennForbiddenError"),
    (404, "not_found", "not_found", "WrennNotFoundError"),
    (409, "invalid_state", "conflict", "WrennConflictError"),
    (409, "conflict", "conflict", "WrennConflictError"),
    (409, "name_reserved", "conflict", "WrennConflictError"),
    (409, "template_name_taken", "conflict", "WrennConflictError"),
    (409, "host_has_sandboxes", "host_has_capsules", "WrennHostHasCapsulesError"),
    (409, "host_has_capsules", "host_has_capsules", "WrennHostHasCapsulesError"),
    (409, "has_active_sandboxes", "host_has_capsules", "WrennHostHasCapsulesError"),
    (413, "too_large", "too_large", "WrennError"),
    (418, "teapot", "upstream_error", "WrennError"),
    (500, "internal_error", "upstream_internal", "WrennInternalError"),
    (500, "db_error", "upstream_internal", "WrennInternalError"),
    (500, "read_error", "upstream_internal", "WrennInternalError"),
    (501, "agent_error", "agent_error", "WrennAgentError"),
    (502, "agent_error", "agent_error", "WrennAgentError"),
    (503, "host_unavailable", "host_unavailable", "WrennHostUnavailableError"),
    (503, "no_hosts_available", "host_unavailable", "WrennHostUnavailableError"),
]


def tells_classes_apart(cloud, client, method, params, path):
    """Each class reaches the client of that method as itself."""
    for status, code, name, sdk_class in CLASSES:
        cloud.fault({"status": status, "code": code, "message": f"said {code}"},
                    match={"path": path}, count=-1)
        with fails(name) as error:
            client.call(method, params)
        cloud.clear_faults()
        assert error.value.data["class"] == sdk_class
        assert error.value.data["http_status"] == status
        assert error.value.data["upstream_code"] == code
        assert f"said {code}" in error.value.message
