"""The one socket."""

websocket_urls: list = []
