"""YAML files that come and go by the browser."""

from django.http import HttpRequest, HttpResponse
from django.utils.text import slugify

from experiments.errors import BadInput

MOST_BYTES = 2**20  # of a file that is uploaded


def attachment(text: str, name: str) -> HttpResponse:
    """YAML that the browser saves as a file of this name."""
    answer = HttpResponse(text, content_type="application/yaml")
    answer["Content-Disposition"] = f'attachment; filename="{slugify(name) or "unnamed"}.yaml"'
    return answer


def uploaded(request: HttpRequest) -> str:
    """The text of the file that was sent, if one was. Raises BadInput."""
    file = request.FILES.get("file")
    if file is None:
        return ""
    if (file.size or 0) > MOST_BYTES:
        raise BadInput("file", f"is larger than {MOST_BYTES // 2**20} MiB")
    try:
        return str(file.read().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise BadInput("file", "is not text in UTF-8; choose a YAML file") from None
