"""When the engine process may end."""

import pytest

from assistant import __version__
from assistant.client.http import call
from assistant.client.lease import Lease
from assistant.errors import EngineUnreachable, RequestRefused
from assistant.server.leases import Leases
from tests.assistant.server.conftest import Service, until


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_new_engine_waits_for_its_first_client(clock: Clock) -> None:
    leases = Leases(0.0, start_grace_s=30.0, clock=clock)
    clock.now_s += 29
    assert not leases.over(busy=False)
    clock.now_s += 2
    assert leases.over(busy=False) and leases.ended


@pytest.mark.parametrize(("keep_alive_s", "stays_s"), [(0.0, 0.9), (60.0, 59.0)])
def test_it_ends_with_its_last_client(clock: Clock, keep_alive_s: float, stays_s: float) -> None:
    leases = Leases(keep_alive_s, clock=clock)
    with leases.hold():
        with leases.hold():
            pass
        clock.now_s += 1000
        assert not leases.over(busy=False)
    clock.now_s += stays_s
    assert not leases.over(busy=False)
    clock.now_s += 1.2
    assert leases.over(busy=False)


def test_work_keeps_it_alive(clock: Clock) -> None:
    leases = Leases(0.0, clock=clock)
    with leases.hold():
        pass
    clock.now_s += 50
    assert not leases.over(busy=True)
    clock.now_s += 0.5
    assert not leases.over(busy=False)
    clock.now_s += 1
    assert leases.over(busy=False)


async def test_a_lease_is_an_open_connection(service: Service) -> None:
    first, second = await Lease.open(service.endpoint), await Lease.open(service.endpoint)
    await until(lambda: service.leases.count == 2)
    status = await call(service.http, "GET", "/engine/status", service.endpoint)
    assert (status["version"], status["leases"], status["requests"]) == (__version__, 2, 0)
    await first.close()
    await until(lambda: service.leases.count == 1)
    assert second.alive
    await second.close()
    await until(lambda: service.leases.count == 0)


async def test_only_an_idle_engine_can_be_told_to_end(service: Service) -> None:
    lease = await Lease.open(service.endpoint)
    await until(lambda: service.leases.count == 1)
    with pytest.raises(RequestRefused) as raised:
        await call(service.http, "POST", "/engine/stop", service.endpoint)
    assert (raised.value.status, service.leases.ended) == (409, False)
    await lease.close()
    await until(lambda: service.leases.count == 0)
    await call(service.http, "POST", "/engine/stop", service.endpoint)
    assert service.leases.ended


async def test_nobody_relies_on_an_engine_that_ends(service: Service) -> None:
    service.leases.ended = True
    with pytest.raises(EngineUnreachable, match="about to end"):
        await Lease.open(service.endpoint)
    assert (await service.http.get("/engine/status")).status_code == 503
