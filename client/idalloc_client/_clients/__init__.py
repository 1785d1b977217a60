"""The clients and their sessions."""

from idalloc_client._clients._async_client import AsyncIdClient
from idalloc_client._clients._async_session import AsyncSession
from idalloc_client._clients._client import IdClient
from idalloc_client._clients._session import RpcClient

__all__ = ["AsyncIdClient", "AsyncSession", "IdClient", "RpcClient"]
