from redis import Redis

class FakeServer:
    connected: bool
    def __init__(self) -> None: ...

class FakeRedis(Redis):
    def __init__(self, *, server: FakeServer | None = None, decode_responses: bool = ...) -> None: ...
