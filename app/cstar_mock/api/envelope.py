"""The envelope of a 200: `{"success": true, "data": …}` [doc], with `meta` if a setting asks for it [site]."""

from http import HTTPStatus
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, create_model
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from cstar_mock.contract import clock
from cstar_mock.http.context import RequestContext, context_of
from cstar_mock.http.replies import Reply, ReplyResponse, json_reply
from cstar_mock.services import Services, services_of

_OK = int(HTTPStatus.OK)  # a member of an enumeration costs a microsecond wherever its number is needed


class Meta(BaseModel):
    """The `meta` that a setting adds to a 200 [site]."""

    requestId: str = Field(description="The same id as in the header X-Request-Id.")  # noqa: N815
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


def success(request: Request, data: bytes) -> Response:
    """Answer 200 with data that are JSON already."""
    return ReplyResponse(success_reply(context_of(request.scope), services_of(request), data))


def success_reply(context: RequestContext, services: Services, data: bytes) -> Reply:
    """Return a 200 with data that are JSON already."""
    meta = b""
    if services.settings.success_meta:
        meta = b',"meta":' + to_json({"requestId": context.request_id, "timestamp": clock.iso(context.now())})
    return json_reply(_OK, b'{"success":true,"data":%s%s}' % (data, meta))
