"""Routes that the gateway forwards: methods 2, 3, 10-12. Bodies are read by the methods themselves, headers here."""

from fastapi import APIRouter, Request, Response

from cv_contracts.faults import Fault
from cv_contracts.wire.common import PERSON_NUMBER_HEADER, is_person_number
from cv_contracts.wire.errors import bad_form
from cv_registry.as_pdf import is_known, wants_pdf
from cv_registry.asylum import CREATE, UPDATE
from cv_registry.calls import write_call
from cv_registry.letters import METHOD as ACCOUNT_LETTER
from cv_registry.parts import PartsDep
from servicekit.data.consistency import CONSISTENCY_HEADER, parse
from servicekit.web.calls import CallerDep, response_of

router = APIRouter()


@router.get("/v6/Cv/pdf")
async def get_cv_as_pdf(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    person_number = request.headers.get(PERSON_NUMBER_HEADER, "")
    if not is_person_number(person_number):
        raise Fault(1014, errors=(bad_form(PERSON_NUMBER_HEADER, person_number),))
    seen = parse(request.headers.get(CONSISTENCY_HEADER))
    shown = await parts.as_pdf(caller, person_number, seen, as_pdf=wants_pdf(_all(request, "accept")))
    headers = {"cache-control": "no-store", "vary": "accept", "etag": shown.etag}
    if is_known(shown.etag, _all(request, "if-none-match")):
        return Response(status_code=304, headers=headers)
    return Response(shown.body, media_type=shown.media_type, headers=headers)


def _all(request: Request, header: str) -> str:
    return ",".join(request.headers.getlist(header))


@router.post("/v6/JobnetAccount/letter")
async def create_jobnet_account_letter(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    call = write_call(ACCOUNT_LETTER, caller, request.headers)
    return response_of(await parts.letters.create(call, await request.body()))


@router.post("/v6/AsylumTransition")
async def create_asylum_transition(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    call = write_call(CREATE, caller, request.headers)
    return response_of(await parts.asylum.set(call, await request.body()))


@router.put("/v6/AsylumTransition")
async def update_asylum_transition(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    call = write_call(UPDATE, caller, request.headers)
    return response_of(await parts.asylum.set(call, await request.body(), request.headers.get("if-match")))


@router.post("/v6/Cv/bynumber")
async def get_cv_by_cv_number(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    seen = parse(request.headers.get(CONSISTENCY_HEADER))
    etag, body = await parts.reading.get_cv_by_cv_number(caller, await request.body(), seen)
    headers = {"content-type": "application/json", "cache-control": "no-store", "etag": etag}
    return Response(body, headers=headers)
