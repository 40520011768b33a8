"""The pages for people: Swagger UI with our own files, shut off from everything else.

A page of this origin can use the keys typed into it and, on loopback, the control API. So it runs its own
scripts only, talks to its own origin only, and can't be framed.
"""

import base64
import hashlib
from typing import Any

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse

FILE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of the files that a page loads."""

_PAGE_HEADERS = {
    **FILE_HEADERS,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


def swagger_ui(openapi_url: str, title: str, parameters: dict[str, Any] | None = None) -> HTMLResponse:
    """Return Swagger UI for an OpenAPI document; a Content-Security-Policy allows its inline script by its digest."""
    page = get_swagger_ui_html(
        openapi_url=openapi_url,
        title=title,
        swagger_js_url="/docs/swagger-ui-bundle.js",
        swagger_css_url="/docs/swagger-ui.css",
        swagger_favicon_url="/docs/favicon.png",
        swagger_ui_parameters=parameters,
    )
    scripts = " ".join(f"'sha256-{_digest(script)}'" for script in _inline_scripts(bytes(page.body).decode()))
    page.headers.update(_PAGE_HEADERS)
    page.headers["Content-Security-Policy"] = (
        # Swagger UI writes styles into its elements, and its icons are data.
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page


def _inline_scripts(page: str) -> list[str]:
    return [rest.partition("</script>")[0] for rest in page.split("<script>")[1:]]


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
