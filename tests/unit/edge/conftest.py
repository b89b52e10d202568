"""The edge's HTTP handlers on a small stage."""

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.unit.edge.http_stage import Stage


@pytest.fixture
def stage(aiohttp_client: AiohttpClient) -> Stage:
    return Stage(aiohttp_client, {"ROOMRING_ALLOWED_ORIGINS": "https://app.example.com"})
