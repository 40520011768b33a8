"""The envelope of a 200: `{"success": true, "data": …}` [doc], with `meta` if a setting asks for it [site]."""

from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, create_model
from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Scope

from cstar_mock import clock
from cstar_mock.api.dependencies import Services
from cstar_mock.http.context import context_of, json_headers


class Meta(BaseModel):
    """What a setting adds to a 200 [site]."""

    requestId: str = Field(description="The id that also stands in the header X-Request-Id.")  # noqa: N815
    timestamp: str = Field(description="The team's time: UTC, ISO 8601, whole seconds.")


def envelope(data: Any, *, meta: bool) -> type[BaseModel]:
    """Return the model of a 200 with these data, named as the user of a generated client expects: `OverviewResponse`.

    Args:
        data: a model, or a list of one.
        meta: whether the setting `success_meta` is on.
    """
    (model,) = get_args(data) or (data,)
    fields: dict[str, Any] = {"success": (Literal[True], ...), "data": (data, ...)}
    if meta:
        fields["meta"] = (Meta, ...)
    return create_model(f"{model.__name__}Response", __doc__="The envelope of a 200.", **fields)


def success(scope: Scope, services: Services, data: bytes) -> Response:
    """Answer 200 with data that are JSON already."""
    return Json(success_body(scope, services, data))


def success_body(scope: Scope, services: Services, data: bytes) -> bytes:
    """Return the body of a 200 with data that are JSON already."""
    meta = b""
    if services.settings.success_meta:
        context = context_of(scope)
        meta = b',"meta":' + to_json({"requestId": context.request_id, "timestamp": clock.iso(context.now())})
    return b'{"success":true,"data":%s%s}' % (data, meta)


class Json(Response):
    """A 200 whose headers need no looking up."""

    def __init__(self, body: bytes) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = json_headers(body)
