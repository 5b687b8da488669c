"""One product for all stories that do not break it."""

from collections.abc import Iterator

import pytest

from tests.integration.product import Product, running_product


@pytest.fixture(scope="session")
def product() -> Iterator[Product]:
    """Everything, on four pretend GPUs, with leases that end soon when nobody renews them."""
    with running_product("simulated:4", GPUPOOL_LEASE_TTL="6") as running:
        yield running
