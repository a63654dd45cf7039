"""Clients and services of a Majordomo broker, such as Buswire's or Dispatchr Backbone's.

`Client` and `AsyncClient` send requests, `Service` answers them, `CmdService` answers with a command.
`BackboneClient`, `BackboneClientMessage` and `BackboneService` have the names and habits of the
Backbone document.
"""

from .asynchronous import AsyncClient
from .backbone import BackboneClient, BackboneClientMessage
from .blocking import Client
from .command import CmdService
from .errors import (
    AnswerTooLarge,
    BackboneError,
    Disconnected,
    InvalidStateError,
    ProtocolError,
    RequestTimeout,
)
from .session import Timing
from .worker import BackboneService, Responder, Service

__all__ = [
    "AnswerTooLarge",
    "AsyncClient",
    "BackboneClient",
    "BackboneClientMessage",
    "BackboneError",
    "BackboneService",
    "Client",
    "CmdService",
    "Disconnected",
    "InvalidStateError",
    "ProtocolError",
    "RequestTimeout",
    "Responder",
    "Service",
    "Timing",
]
