"""Reading the documents that come out."""

import pypdfium2


def text_of(pdf: bytes) -> str:
    """Give all text of a document, each stretch of white space as one blank."""
    document = pypdfium2.PdfDocument(pdf)
    try:
        return " ".join(" ".join(page.get_textpage().get_text_range().split()) for page in document)
    finally:
        document.close()
