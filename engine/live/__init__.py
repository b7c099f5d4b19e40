"""The only edge: asyncio, files, sockets and time."""
