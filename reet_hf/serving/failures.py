"""Why a request is not served, with the HTTP status that says so."""

from __future__ import annotations

from ..errors import ReetError


class Failure(ReetError):
    """A request that is not served.

    Attributes:
        status: HTTP status.
        code: A word that programs can rely on.
        wait: Seconds after which it may be tried again; `None` where that would not help.
    """

    status = 422
    code = "invalid_request"
    wait: int | None = None


class NoSuchSession(Failure):
    """There is no session of that name, for this tenant."""

    status, code = 404, "no_such_session"


class Conflict(Failure):
    """The session is not as the request takes it to be."""

    status, code = 409, "conflict"


class Damaged(Failure):
    """What the server keeps cannot be read."""

    status, code = 500, "damaged"


class OverQuota(Failure):
    """The tenant keeps as many sessions as it may."""

    status, code = 403, "quota"


class Busy(Failure):
    """Too many requests are waiting already."""

    status, code, wait = 503, "busy", 1


class TooLate(Failure):
    """The request took longer than it may, and goes on."""

    status, code, wait = 503, "timeout", 5
