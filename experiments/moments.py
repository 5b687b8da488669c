"""A moment on a page: in the reader's own zone, and with that zone when it is pointed at."""

from datetime import UTC, datetime
from functools import lru_cache

from django.utils.html import format_html
from django.utils.safestring import SafeString

# As they are without JavaScript; static/experiments/moments.js has the same in the reader's zone
FORMS = {
    "second": "%Y-%m-%d %H:%M:%S UTC",
    "minute": "%Y-%m-%d %H:%M UTC",
    "clock": "%H:%M:%S UTC",
}


@lru_cache(maxsize=4096)  # A log has the same ones again at each event
def moment(at: datetime | None, form: str = "second") -> SafeString:
    """The HTML of a moment, a dash for none. The `form` is one of FORMS."""
    if at is None:
        return SafeString("–")
    at = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}" data-form="{}" title="{}">{}</time>',
        at.isoformat(timespec="seconds"),
        form,
        at.strftime(FORMS["second"]),
        at.strftime(FORMS[form]),
    )
