"""Code lists: data files that can be replaced without a code change.

`load(directory)` reads the files that lie in the directory and takes the rest from the package;
`default()` is the package's own, read once per process.
"""

from cv_contracts.codelists.entries import (
    BenefitFamily,
    Condition,
    ContactDataType,
    ContactGroup,
    ContactStatus,
    CvStatus,
    Education,
    EducationLevel,
    Municipality,
    Occupation,
    Organisation,
    OrganisationType,
    PostalCode,
    Qualification,
    RankedName,
    UserType,
)
from cv_contracts.codelists.loading import DATA, UNKNOWN_MUNICIPALITY, UNKNOWN_NAME, CodeLists, default, load
from cv_contracts.codelists.reading import BadCodeList

__all__ = [
    "DATA",
    "UNKNOWN_MUNICIPALITY",
    "UNKNOWN_NAME",
    "BadCodeList",
    "BenefitFamily",
    "CodeLists",
    "Condition",
    "ContactDataType",
    "ContactGroup",
    "ContactStatus",
    "CvStatus",
    "Education",
    "EducationLevel",
    "Municipality",
    "Occupation",
    "Organisation",
    "OrganisationType",
    "PostalCode",
    "Qualification",
    "RankedName",
    "UserType",
    "default",
    "load",
]
