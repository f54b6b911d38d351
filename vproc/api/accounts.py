"""Accounts: sign up, confirm, log in, refresh, log out, a forgotten password, who one is. Only where ``VPROC_AUTH=cognito``.

No answer tells whether an address has an account, and none of these is answered to another site's page.
"""

from __future__ import annotations

import structlog
from aiohttp import web

from vproc.api.access import caller_of
from vproc.api.account_models import (
    Accepted,
    ConfirmRequest,
    EmailRequest,
    LoggedIn,
    LogInRequest,
    Me,
    RefreshRequest,
    ResetRequest,
    SignUpRequest,
)
from vproc.api.body import read_body
from vproc.api.parts import CALLER, parts_of
from vproc.api.reply import reply
from vproc.api.route import Access, Answer, Route
from vproc.api.sessions import refuse_foreign_page, refuse_told_foreign_page
from vproc.api.token_cookies import REFRESH_COOKIE, clear_token_cookies, forget_kept, lasts_for_s, set_token_cookies
from vproc.core.claims import Claims
from vproc.errors import NotFoundError, UnauthenticatedError
from vproc.ports import Caller
from vproc.ports.accounts import AccountParts, Tokens

_SENT = "If this address can have an account here, a code is on its way to it."
_NO_SESSION = "There is no session to refresh: no refresh_token came, in a cookie or in the body. Log in."

log = structlog.stdlib.get_logger(__name__)


def accounts_of(request: web.Request) -> AccountParts:
    """What the account routes work with. Raises `NotFoundError` where there are no accounts here."""
    accounts = parts_of(request).accounts
    if accounts is None:
        raise NotFoundError("There are no accounts here: they are there with VPROC_AUTH=cognito.")
    return accounts


async def sign_up(request: web.Request) -> web.Response:
    """Begin an account."""
    accounts = _at_the_door(request)
    asked = await read_body(request, SignUpRequest)
    await accounts.accounts.sign_up(asked.email, asked.password.get_secret_value(), asked.name)
    return reply(Accepted(detail=_SENT), status=202)


async def confirm(request: web.Request) -> web.Response:
    """Confirm an account."""
    accounts = _at_the_door(request)
    asked = await read_body(request, ConfirmRequest)
    await accounts.accounts.confirm(asked.email, asked.code)
    return web.Response(status=204)


async def resend(request: web.Request) -> web.Response:
    """Send another code."""
    accounts = _at_the_door(request)
    asked = await read_body(request, EmailRequest)
    await accounts.accounts.resend(asked.email)
    return reply(Accepted(detail=_SENT), status=202)


async def log_in(request: web.Request) -> web.Response:
    """Tokens for a password."""
    accounts = _at_the_door(request)
    asked = await read_body(request, LogInRequest)
    tokens = await accounts.accounts.log_in(asked.email, asked.password.get_secret_value())
    claims = await welcomed(accounts, tokens)
    return await _session(request, tokens, claims, in_cookies=asked.session == "cookies")


async def welcomed(accounts: AccountParts, tokens: Tokens, *, nonce: str | None = None) -> Claims:
    """Check what a log-in gave, and keep what it says of the user; the access token's claims."""
    claims = await accounts.access.verify(tokens.access)
    email = name = None
    if tokens.identity is not None:
        said = await accounts.identity.verify(tokens.identity)
        if said.subject != claims.subject or (nonce is not None and said.nonce != nonce):
            raise UnauthenticatedError("This log-in does not hold: its tokens are not of one log-in.")
        email, name = said.email, said.name
    elif nonce is not None:
        raise UnauthenticatedError("This log-in does not hold: it gave no id token.")
    await accounts.users.note_log_in(claims.subject, email=email, name=name)
    log.info("logged_in", owner=claims.subject)
    return claims


async def refresh(request: web.Request) -> web.Response:
    """New tokens for a refresh token; where the pool rotates them, the one that was sent holds no more."""
    accounts = accounts_of(request)
    token, in_cookies = await _refresh_token(request)
    if token is None:
        raise UnauthenticatedError(_NO_SESSION)
    tokens = await accounts.accounts.refresh(token)
    claims = await accounts.access.verify(tokens.access)
    return await _session(request, Tokens(tokens.access, None, tokens.refresh or token), claims, in_cookies=in_cookies)


async def log_out(request: web.Request) -> web.Response:
    """End the session: its refresh token here and at the pool."""
    accounts = accounts_of(request)
    token, _ = await _refresh_token(request)
    if token is not None:
        await accounts.accounts.log_out(token)
    await forget_kept(request, keys=parts_of(request).keys)
    response = web.Response(status=204)
    clear_token_cookies(response)
    return response


async def forgot_password(request: web.Request) -> web.Response:
    """Send a code for another password."""
    accounts = _at_the_door(request)
    asked = await read_body(request, EmailRequest)
    await accounts.accounts.forgot_password(asked.email)
    return reply(Accepted(detail=_SENT), status=202)


async def reset_password(request: web.Request) -> web.Response:
    """Set another password."""
    accounts = _at_the_door(request)
    asked = await read_body(request, ResetRequest)
    await accounts.accounts.reset_password(asked.email, asked.code, asked.password.get_secret_value())
    return web.Response(status=204)


async def me(request: web.Request) -> web.Response:
    """Who asks."""
    caller, accounts = caller_of(request), accounts_of(request)
    return reply(Me.of(caller, await accounts.users.find_user(caller.owner)))


def _at_the_door(request: web.Request) -> AccountParts:
    """Whoever is not known yet. Another site's page may not log its visitor in as somebody else."""
    accounts = accounts_of(request)
    refuse_told_foreign_page(request)
    return accounts


async def _refresh_token(request: web.Request) -> tuple[str | None, bool]:
    """The refresh token, and whether a cookie held it; then the request must come from a page of ours."""
    if request.can_read_body:
        refuse_told_foreign_page(request)
        return (await read_body(request, RefreshRequest)).refresh_token.get_secret_value(), False
    refuse_foreign_page(request, changes=True)
    return request.cookies.get(REFRESH_COOKIE), True


async def _session(request: web.Request, tokens: Tokens, claims: Claims, *, in_cookies: bool) -> web.Response:
    # Whom the audit tells of: at an open route nobody was known before.
    request[CALLER] = Caller(claims.subject, admin=claims.admin, by_cookie=in_cookies, expires_at=claims.expires_at)
    told = LoggedIn(owner=claims.subject, expires_in=max(0, lasts_for_s(claims)))
    if not in_cookies:
        return reply(told.model_copy(update={"access_token": tokens.access, "refresh_token": tokens.refresh}))
    response = reply(told)
    await set_token_cookies(request, response, tokens, claims, keys=parts_of(request).keys)
    return response


_ACCEPTED = Answer(202, "Done, where it can be; nothing else is told", Accepted)
_DOOR = (400, 403, 404, 408, 413, 415, 422, 429, 503)


ROUTES = (
    Route(
        method="POST", path="/auth/sign-up", handler=sign_up, access=Access.OPEN, tag="identity", audit="account.sign_up",
        summary="Begin an account", body=SignUpRequest, answers=(_ACCEPTED,), problems=_DOOR,
        description="A code is sent to the address. An address that has an account gets the same answer.",
    ),
    Route(
        method="POST", path="/auth/confirm", handler=confirm, access=Access.OPEN, tag="identity", audit="account.confirm",
        summary="Confirm an account by its code", body=ConfirmRequest, answers=(Answer(204, "It may log in"),), problems=_DOOR,
    ),
    Route(
        method="POST", path="/auth/resend", handler=resend, access=Access.OPEN, tag="identity", audit="account.resend",
        summary="Send another code", body=EmailRequest, answers=(_ACCEPTED,), problems=_DOOR,
    ),
    Route(
        method="POST", path="/auth/log-in", handler=log_in, access=Access.OPEN, tag="identity", audit="account.log_in",
        summary="Log in", body=LogInRequest, answers=(Answer(200, "Who is logged in", LoggedIn),), problems=(401, 409, *_DOOR),
        description="Sets the cookies `access_token` and `refresh_token`; where `session` is `tokens` the answer holds them.",
    ),
    Route(
        method="POST", path="/auth/refresh", handler=refresh, access=Access.OPEN, tag="identity", audit="account.refresh",
        summary="New tokens for a refresh token", body=RefreshRequest, body_required=False,
        answers=(Answer(200, "Who is logged in", LoggedIn),), problems=(401, *_DOOR),
        description="Without a body the cookie tells, and the cookies are set anew.",
    ),
    Route(
        method="POST", path="/auth/log-out", handler=log_out, access=Access.OPEN, tag="identity", audit="account.log_out",
        summary="Log out", body=RefreshRequest, body_required=False, problems=_DOOR,
        answers=(Answer(204, "The session is ended"),),
        description="Ends the refresh token. An access token that was copied elsewhere holds until it expires.",
    ),
    Route(
        method="POST", path="/auth/forgot-password", handler=forgot_password, access=Access.OPEN, tag="identity",
        audit="account.forgot_password", summary="Send a code for another password", body=EmailRequest, answers=(_ACCEPTED,),
        problems=_DOOR,
    ),
    Route(
        method="POST", path="/auth/reset-password", handler=reset_password, access=Access.OPEN, tag="identity",
        audit="account.reset_password", summary="Set another password by a code", body=ResetRequest,
        answers=(Answer(204, "It holds"),), problems=_DOOR,
    ),
    Route(
        method="GET", path="/auth/me", handler=me, access=Access.IDENTITY, tag="identity", summary="Who asks",
        answers=(Answer(200, "Who asks", Me),), problems=(404, 503),
    ),
)  # fmt: skip
