"""CreateAsylumCVTransition and UpdateAsylumCVTransition."""

from typing import Annotated

from cv_contracts.wire.common import Date, Wire, text


class CreateAsylumCVTransitionRequest(Wire):
    """From when a jobcenter may replace the CV, and until when; their order is 9196."""

    CVEditEndDate: Date
    AsylumCVTransitionDate: Date


class UpdateAsylumCVTransitionRequest(Wire):
    """New dates, with a comment where the transition date changes (9202)."""

    CVEditEndDate: Date
    AsylumCVTransitionDate: Date
    CorrectionComment: Annotated[str, text(1500)] | None = None
