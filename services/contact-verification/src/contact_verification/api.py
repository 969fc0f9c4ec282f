"""Routes that the gateway forwards: methods 14 to 19."""

from typing import Final

from fastapi import APIRouter, Request, Response

from contact_verification import looking_up, saving, statuses, verifying
from contact_verification.calls import Call, read_call
from contact_verification.parts import PartsDep
from cv_contracts.methods import METHOD_BY_NUMBER
from servicekit.web.calls import caller_of, response_of

router = APIRouter()

_PRIVATE: Final = {"cache-control": "no-store"}


def _call(request: Request, method: int) -> Call:
    caller = caller_of(request.app.state.verifier, request.headers.get("authorization"))
    return read_call(method, caller, request.headers)


def _path(method: int) -> str:
    return METHOD_BY_NUMBER[method].path


@router.post(_path(saving.METHOD))
async def save_person_contact_data(request: Request, parts: PartsDep) -> Response:
    return response_of(await parts.saving(_call(request, saving.METHOD), await request.body()))


@router.post(_path(verifying.VERIFY))
async def verify_person_contact_data(request: Request, parts: PartsDep) -> Response:
    return response_of(await parts.verifying.verify(_call(request, verifying.VERIFY), await request.body()))


@router.post(_path(verifying.REQUEST_NEW))
async def request_new_verification_code(request: Request, parts: PartsDep) -> Response:
    call = _call(request, verifying.REQUEST_NEW)
    return response_of(await parts.verifying.request_new(call, await request.body()))


@router.post(_path(looking_up.BY_MOBILE))
async def get_person_by_mobile_phone_number(request: Request, parts: PartsDep) -> Response:
    body = await parts.looking_up.by_mobile(_call(request, looking_up.BY_MOBILE), await request.body())
    return Response(body, media_type="application/json", headers=_PRIVATE)


@router.post(_path(looking_up.BY_MAIL))
async def get_person_by_email_address(request: Request, parts: PartsDep) -> Response:
    body = await parts.looking_up.by_mail(_call(request, looking_up.BY_MAIL), await request.body())
    return Response(body, media_type="application/json", headers=_PRIVATE)


@router.post(_path(statuses.METHOD))
async def save_person_contact_status(request: Request, parts: PartsDep) -> Response:
    call = _call(request, statuses.METHOD)
    return response_of(await parts.contact_statuses.save(call, await request.body()))
