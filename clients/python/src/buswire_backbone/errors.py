"""What can go wrong, as exceptions with one common parent."""


class BackboneError(Exception):
    """Parent of every error of this package."""


class RequestTimeout(BackboneError, TimeoutError):
    """No complete answer came in time.

    Majordomo has no error reply: an unknown service, a full queue, a lost worker and a slow one all
    look like this.
    """

    def __init__(self) -> None:
        super().__init__("Request Timeout")


class InvalidStateError(BackboneError):
    """The call does not fit the state of the object, such as a second request before the first is done."""


class Disconnected(BackboneError):
    """The client was closed before the answer came."""


class AnswerTooLarge(BackboneError):
    """The answer exceeds what the client keeps in memory."""


class ProtocolError(BackboneError):
    """The frames are no Majordomo message of the expected kind."""
