"""Applications inside an application."""

import asyncio
import threading
from typing import Any

from starlette.types import Receive, Scope, Send

from cstar_mock.http.mounting import Lazy


async def _no_messages(*_: Any) -> Any:
    raise AssertionError("nothing is received or sent here")


class Served:
    """An application that remembers which requests it was asked for."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        self.paths.append(scope["path"])


def test_requests_that_come_together_build_one_application_and_others_are_served_meanwhile() -> None:
    served, may_end, builds = Served(), threading.Event(), []

    async def serve() -> None:
        loop, began = asyncio.get_running_loop(), asyncio.Event()

        def build() -> Served:
            builds.append(threading.current_thread())
            loop.call_soon_threadsafe(began.set)
            assert may_end.wait(10)
            return served

        lazy = Lazy(build)
        requests = [asyncio.create_task(lazy({"path": path}, _no_messages, _no_messages)) for path in ("/a", "/b")]
        await began.wait()  # a loop that was held by the build would never come here
        assert served.paths == []
        may_end.set()
        await asyncio.gather(*requests)
        await lazy({"path": "/c"}, _no_messages, _no_messages)

    asyncio.run(serve())
    assert sorted(served.paths[:2]) == ["/a", "/b"]
    assert served.paths[2:] == ["/c"]
    assert len(builds) == 1
    assert builds[0] is not threading.main_thread()


def test_a_build_that_fails_is_tried_again_for_the_next_request() -> None:
    served, results = Served(), iter([OSError("no more files"), None])

    def build() -> Served:
        failure = next(results)
        if failure is not None:
            raise failure
        return served

    async def serve() -> None:
        lazy = Lazy(build)
        failed = await asyncio.gather(lazy({"path": "/a"}, _no_messages, _no_messages), return_exceptions=True)
        assert [str(failure) for failure in failed] == ["no more files"]
        await lazy({"path": "/b"}, _no_messages, _no_messages)

    asyncio.run(serve())
    assert served.paths == ["/b"]
