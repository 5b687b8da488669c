"""One product for all stories that do not break it; and each of the databases."""

from collections.abc import Iterator

import pytest

from tests.integration.postgres_server import running_postgres
from tests.integration.product import Product, running_product


@pytest.fixture(scope="session")
def product() -> Iterator[Product]:
    """Everything, on four pretend GPUs, with leases that end soon when nobody renews them."""
    with running_product("simulated:4", GPUPOOL_LEASE_TTL="6") as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The environment that chooses each database."""
    if request.param == "sqlite":
        yield {}
    else:
        with running_postgres() as url:
            yield {"DATABASE_URL": url}
