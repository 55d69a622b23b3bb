"""The API, through the SDK: the only importer of openai, httpx2 and aiohttp."""
