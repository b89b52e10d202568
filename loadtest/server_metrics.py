"""The counters that servers show to Prometheus, read by HTTP."""

import asyncio
from collections.abc import Mapping
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S: Final = 0.9
"""A window waits for it to begin."""


def parse_counters(text: str) -> dict[str, float]:
    """Return all counters of a page, and count and sum of its histograms: name, labels in braces behind it -> value.

    Raises:
        ValueError: the text is no such page.
    """
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        if family.type not in ("counter", "histogram"):
            continue
        for sample in family.samples:
            if not sample.name.endswith(("_created", "_bucket")):
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def read_counters(http: aiohttp.ClientSession, urls: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Read the pages of all processes at once.

    Args:
        urls: name of the process -> URL of its page.

    Returns: name -> counters; those that did not answer are left out.
    """
    pages = await asyncio.gather(*(_read(http, url) for url in urls.values()))
    return {name: page for name, page in zip(urls, pages, strict=True) if page is not None}


async def _read(http: aiohttp.ClientSession, url: str) -> dict[str, float] | None:
    try:
        async with http.get(url, timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)) as response:
            return parse_counters(await response.text()) if response.status == 200 else None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None
