"""The clients and their sessions."""

from idalloc_client._clients._async_client import AsyncIdClient, AsyncSession
from idalloc_client._clients._client import IdClient, Session

__all__ = ["AsyncIdClient", "AsyncSession", "IdClient", "Session"]
