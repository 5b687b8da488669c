"""Files that come and go by the browser."""

from django.http import HttpRequest, HttpResponse
from django.utils.text import slugify

from experiments.errors import BadInput

MOST_BYTES = 2**20  # of a file that is uploaded


def attachment(content: str | bytes, name: str, kind: str = "yaml") -> HttpResponse:
    """What the browser saves as a file of this name: YAML, or an archive (`zip`)."""
    answer = HttpResponse(content, content_type=f"application/{kind}")
    answer["Content-Disposition"] = f'attachment; filename="{slugify(name) or "unnamed"}.{kind}"'
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
