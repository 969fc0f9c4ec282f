"""The nineteen methods against the tables of the specification and the fault lists of the seeds."""

import csv
from pathlib import Path

import pytest

from cv_contracts.faults import FAULTS
from cv_contracts.methods import ALWAYS_ALLOWED, METHOD_BY_NUMBER, METHODS, Method
from cv_contracts.topics import SERVICES

SEED = list(
    csv.DictReader((Path(__file__).parent / "data" / "seed-faults.csv").read_text("utf-8").splitlines())
)
ROUTES = """
1 GetCV GET /v6/Cv cv-registry
2 GetCVAsPdf GET /v6/Cv/pdf cv-registry
3 CreateJobnetAccountLetter POST /v6/JobnetAccount/letter cv-registry
4 SetCvStatus POST /v6/Cv/cvstatus cv-status
5 SearchCVText POST /v6/Cv/search cv-search
6 GetCvStatus GET /v6/Cv/cvstatus cv-status
7 GetCVOnStatus GET /v6/Cv/versions/onstatus cv-status
8 GetAvailableCVStatusVersions GET /v6/Cv/versions cv-status
9 GetCVUpdateList GET /v6/Cv/changes change-feed
10 GetCVByCVNumber POST /v6/Cv/bynumber cv-registry
11 CreateAsylumCVTransition POST /v6/AsylumTransition cv-registry
12 UpdateAsylumCVTransition PUT /v6/AsylumTransition cv-registry
13 ReplaceCV PUT /v6/Cv cv-registry
14 SavePersonContactData POST /v1/kontaktinformation contact-verification
15 VerifyPersonContactData POST /v1/kontaktinformation/verificering contact-verification
16 RequestNewVerificationCode POST /v1/kontaktinformation/verificering/ny contact-verification
17 GetPersonByMobilePhoneNumber POST /v1/kontaktinformation/mobiltelefon contact-verification
18 GetPersonByEmailAddress POST /v1/kontaktinformation/emailadresse contact-verification
19 SavePersonContactStatus POST /v1/kontaktinformation/status contact-verification
"""
SCOPES = {
    "cv.read": {1, 2, 6, 7, 8, 10},
    "cv.account": {3},
    "cv.status": {4},
    "cv.search": {5},
    "cv.changes": {9},
    "cv.write": {11, 12, 13},
    "contact.write": {14, 19},
    "contact.verify": {15, 16},
    "contact.lookup": {17, 18},
}
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


def numbers(**wanted: object) -> set[int]:
    return {
        method.number
        for method in METHODS
        if all(getattr(method, name) == value for name, value in wanted.items())
    }


def test_every_method_has_its_number_name_route_and_owner() -> None:
    told = [f"{m.number} {m.name} {m.verb} {m.path} {m.owner}" for m in METHODS]
    assert told == ROUTES.strip().splitlines()


def test_no_two_methods_have_the_same_number_or_route() -> None:
    routes = {(method.verb, method.path) for method in METHODS}
    assert len(METHOD_BY_NUMBER) == len(routes) == len(METHODS) == 19
    assert METHOD_BY_NUMBER[6].name == "GetCvStatus"


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_opens_its_methods(scope: str) -> None:
    assert numbers(scope=scope) == SCOPES[scope]


def test_writes_are_those_that_answer_with_a_receipt() -> None:
    assert numbers(write=True) == {3, 4, 11, 12, 13, 14, 15, 16, 19}


def test_the_citizen_is_named_in_the_header_or_in_the_body() -> None:
    assert numbers(citizen="header") == {1, 2, 3, 6, 7, 8, 11, 12, 13, 14, 19}
    assert numbers(citizen="body") == {4, 10, 15, 16}


@each_method
def test_a_method_lists_the_faults_of_its_seed(method: Method) -> None:
    seed = {int(row["code"]) for row in SEED if int(row["method"]) == method.number}
    beyond_the_seed = {9154} if method.number == 14 else set[int]()
    assert method.listed == seed | beyond_the_seed


@each_method
def test_a_method_may_answer_what_it_lists_and_what_all_may(method: Method) -> None:
    assert method.faults == method.listed | {1011, 1012, 1013, 1014, 4575, 8173, 8174, 8292} | set(
        range(8232, 8236)
    )
    assert method.faults <= FAULTS.keys()
    assert method.faults >= ALWAYS_ALLOWED


@each_method
def test_an_owner_that_does_not_answer_has_the_fault_of_the_seed(method: Method) -> None:
    assert method.unreachable_fault == {1: 4430, 2: 4430, 3: 4430, 4: 8236}.get(method.number, 1011)
    assert FAULTS[method.unreachable_fault].status == 503


@each_method
def test_owners_and_assistants_are_services(method: Method) -> None:
    assert method.owner in SERVICES
    assert method.assistant == ("pdf-renderer" if method.number in {2, 3, 7} else None)
